"""Tables of results inside Markdown pages. They are generated from results.json files.

    <!-- zoo bench table: results/real-2026-11-22.json -->
    `zoo bench table PAGE` writes everything between these two lines
    <!-- end of table -->

The path is relative to the page. Two options may follow it: `; tasks: digits; gender` chooses tasks, in that order;
`; models: mine; mfcc` after it chooses models, in that order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from zoo.benchmarks import scores, table
from zoo.benchmarks.results import Record, read_results
from zoo.errors import ConfigError

_BLOCK = re.compile(
    r"(?P<open><!-- zoo bench table: (?P<path>[^;\n]+?)(?:; tasks: (?P<tasks>[^\n]+?))?"
    r"(?:; models: (?P<models>[^\n]+?))? -->\n)"
    r".*?(?P<close><!-- end of table -->)",
    re.DOTALL,
)


def updated(page: Path) -> str:
    """The text of a page with its tables generated again.

    Raises ConfigError for a page without a table, and for unknown tasks and models; ZooError for results that cannot be
    read.
    """
    text = page.read_text(encoding="utf-8")
    if not _BLOCK.search(text):
        raise ConfigError(f"{page}: holds no <!-- zoo bench table: RESULTS.json --> ... <!-- end of table -->")

    def new_block(match: re.Match[str]) -> str:
        lines = compact(page.parent / match["path"], _names(match["tasks"]), _names(match["models"]))
        return f"{match['open']}{lines}\n{match['close']}"

    return _BLOCK.sub(new_block, text)


def _names(option: str | None) -> list[str]:
    """The names in "a; b"."""
    names = [name.strip() for name in (option or "").split(";")]
    return [name for name in names if name]


def compact(path: Path, tasks: Sequence[str] = (), models: Sequence[str] = ()) -> str:
    """A row for each task, a column for each model. Default: all.

    Bold: see Results.bold.
    Raises ConfigError for a missing file, and for tasks and models that it does not hold.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file of results")
    results = read_results(path)
    records = [record for record in table.latest(results.records) if record.status == "ok"]
    all_tasks = list(dict.fromkeys(record.task for record in records))
    all_models = list(dict.fromkeys(record.model for record in records if not tasks or record.task in tasks))
    _check_known(path, "task", tasks, all_tasks)
    _check_known(path, "model", models, all_models)
    columns = models or all_models
    shown = [record for record in records if record.model in columns]
    lines = table.grid(shown, results.bold(shown), tasks or all_tasks, columns, _cell)
    return "\n".join(lines)


def _check_known(path: Path, what: str, requested: Sequence[str], available: Sequence[str]) -> None:
    for name in requested:
        if name not in available:
            raise ConfigError(f"{path}: has no {what} {name!r}; it has {'; '.join(available)}")


def _cell(record: Record) -> str:
    return f"{scores.number(record, record.score)}<br><sub>{scores.interval(record)}</sub>"
