"""Tables of results inside Markdown pages, kept in step with the results.json files that they come from.

    <!-- zoo bench table: results/real-2026-11-22.json -->
    anything between these two lines is written by `zoo bench table PAGE`
    <!-- end of table -->

The path is relative to the page. `; tasks: digits; gender` behind it chooses tasks, in that order, and
`; subjects: mine; mfcc` behind that the columns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from zoo.benchmarks import table
from zoo.benchmarks.results import Record, read_records
from zoo.errors import ConfigError

_BLOCK = re.compile(
    r"(?P<open><!-- zoo bench table: (?P<path>[^;\n]+?)(?:; tasks: (?P<tasks>[^\n]+?))?"
    r"(?:; subjects: (?P<subjects>[^\n]+?))? -->\n)"
    r".*?(?P<close><!-- end of table -->)",
    re.DOTALL,
)


def updated(page: Path) -> str:
    """The page's text with all its tables made anew.

    Raises ConfigError for a page without any, and for unknown tasks; ZooError for results that cannot be read.
    """
    text = page.read_text(encoding="utf-8")
    if not _BLOCK.search(text):
        raise ConfigError(f"{page}: holds no <!-- zoo bench table: RESULTS.json --> ... <!-- end of table -->")

    def made(match: re.Match[str]) -> str:
        tasks, subjects = (
            [name.strip() for name in (match[key] or "").split(";") if name.strip()] for key in ("tasks", "subjects")
        )
        return f"{match['open']}{compact(page.parent / match['path'], tasks, subjects)}\n{match['close']}"

    return _BLOCK.sub(made, text)


def compact(path: Path, tasks: Sequence[str] = (), subjects: Sequence[str] = (), *, plain: bool = False) -> str:
    """A row for each task, a column for each subject; all there are, where none are named.

    Bold: nobody is significantly better, and someone is worse. plain: for a terminal too, and with the layers chosen.
    Raises ConfigError for a file that is not there, and for tasks and subjects that it does not hold.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file of results")
    records = [record for record in table.latest(read_records(path)) if record.status == "ok"]
    ranks = json.loads(path.read_text(encoding="utf-8")).get("ranks", {})
    known = list(dict.fromkeys(record.task for record in records))
    examined = list(dict.fromkeys(record.subject for record in records if not tasks or record.task in tasks))
    for what, asked, there in (("task", tasks, known), ("subject", subjects, examined)):
        if unknown := [name for name in asked if name not in there]:
            raise ConfigError(f"{path}: has no {what} {unknown[0]!r}; it has {', '.join(there)}")
    found = {(record.task, record.subject): record for record in records}
    names = list(subjects or examined)
    lines = ["| | " + " | ".join(names) + " |", "|-" * (len(names) + 1) + "|"]
    for task in tasks or known:
        here = ranks.get(task, {})
        best = [name for name, rank in here.items() if rank == 1 < max(here.values())]
        cells = [_cell(found.get((task, name)), name in best, plain) for name in names]
        lines.append(f"| {table.heading(task, records)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(record: Record | None, best: bool, plain: bool) -> str:
    if record is None:
        return ""
    score = table.number(record, record.score)
    if plain:
        return table.cell(record).replace(score, f"**{score}**", 1) if best else table.cell(record)
    return f"{f'**{score}**' if best else score}<br><sub>{table.interval(record)}</sub>"
