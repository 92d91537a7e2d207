"""Tables of results inside Markdown pages, kept in step with the results.json files that they come from.

    <!-- zoo bench table: results/real-2026-11-22.json -->
    anything between these two lines is written by `zoo bench table PAGE`
    <!-- end of table -->

The path is relative to the page. `; tasks: digits; gender` behind it chooses tasks, in that order, and
`; subjects: mine; mfcc` behind that the columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from zoo.benchmarks import table
from zoo.benchmarks.results import Record, read_results
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


def compact(path: Path, tasks: Sequence[str] = (), subjects: Sequence[str] = ()) -> str:
    """A row for each task, a column for each subject; all there are, where none are named.

    Bold: nobody is significantly better, and someone is worse.
    Raises ConfigError for a file that is not there, and for tasks and subjects that it does not hold.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file of results")
    results = read_results(path)
    records = [record for record in table.latest(results.records) if record.status == "ok"]
    known = list(dict.fromkeys(record.task for record in records))
    examined = list(dict.fromkeys(record.subject for record in records if not tasks or record.task in tasks))
    for what, asked, there in (("task", tasks, known), ("subject", subjects, examined)):
        if unknown := [name for name in asked if name not in there]:
            raise ConfigError(f"{path}: has no {what} {unknown[0]!r}; it has {'; '.join(there)}")
    return "\n".join(table.grid(records, results.ranks, list(tasks or known), list(subjects or examined), _cell))


def _cell(record: Record) -> str:
    return f"{table.number(record, record.score)}<br><sub>{table.interval(record)}</sub>"
