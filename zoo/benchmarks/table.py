"""Results as Markdown: scores with their intervals, and tables of details for each kind of task.

The HTML report shows the same cells and details.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from zoo.benchmarks import details
from zoo.benchmarks.results import Record, Results
from zoo.benchmarks.scores import cell, heading, number
from zoo.io.markdown import block, code, plain, row
from zoo.io.text import one_line

PERFECT = (
    "The interval of a perfect score is the exact binomial bound with one trial per speaker or piece, "
    "so it is wide for few of them."
)
FOOTNOTE = f"Score (95 % interval; over speakers or pieces where the data names them). Layer chosen on dev. {PERFECT}"
BOLD_ON_CARDS = "Bold: not significantly worse than the best model of the whole result."
BOLD = (
    "Bold: not significantly worse than the best (paired bootstrap, Holm's correction over the differences to the "
    "best). A row without bold shows no significant difference."
)
BOLD_BY_INTERVAL = "Bold: the best score of the row, and each score whose interval holds it. No bold: all intervals do."

_FEW_GROUPS = 5  # with fewer groups, the bootstrap underestimates the variation between groups


def markdown(results: Results, intro: Sequence[str] = ()) -> str:
    """The whole page: the runs, the table of scores, skipped tasks, notes, and tables of details.

    intro: lines about the results, for the top of the page.
    """
    records = latest(results.records)
    lines = [
        f"# {block(results.suite)}",
        "",
        *(part for line in intro for part in (line, "")),
        *computed_by(results, records),
    ]
    tasks, models = (list(dict.fromkeys(names)) for names in ([r.task for r in records], [r.model for r in records]))
    lines += ["", *grid(records, results.bold(records), tasks, models, cell), "", FOOTNOTE, legend(results)]
    remarks = notes(records)
    if outdated := len(results.records) - len(records):
        remarks.append(f"{outdated} results with older data or settings are in the file but not shown")
    for title, items in (("Skipped", skipped(records)), ("Notes", remarks)):
        if items:
            lines += ["", f"{title}:", "", *(f"- {block(item)}" for item in items)]
    return "\n".join([*lines, *details.lines(records)]) + "\n"


def legend(results: Results, tested: str = BOLD) -> str:
    """What bold means in tables of these results. tested: the sentence for results with tests against the best."""
    return BOLD_BY_INTERVAL if results.ranks and not results.best else tested


def latest(records: Iterable[Record]) -> list[Record]:
    """The records to show: those with the latest data and settings of each task.

    If different models have the same name, a part of their fingerprint is added to it. So no row mixes two models.
    """
    all_records = list(records)
    latest_settings = {record.task: (record.data, record.task_key) for record in all_records}  # the last one wins
    current = [record for record in all_records if (record.data, record.task_key) == latest_settings[record.task]]
    fingerprints: dict[str, set[str]] = {}
    for record in current:
        fingerprints.setdefault(record.model, set()).add(record.fingerprint)
    return [
        replace(record, model=f"{record.model} ({record.fingerprint[:6]})")
        if len(fingerprints[record.model]) > 1
        else record
        for record in current
    ]


def computed_by(results: Results, records: Sequence[Record]) -> list[str]:
    """Command, commit, hardware and day of each run that computed one of these records."""
    used = sorted({record.run for record in records if record.run is not None})
    lines = ["Computed by", ""] if used else []
    for index in used:
        run = results.runs[index]
        hardware = ", ".join(filter(None, [run["machine"], run["gpu"], f"threads: {run['threads']}"]))
        setup = f"commit {run['commit'] or 'unknown'}, {hardware}, torch {run['torch']}, {run['day']}"
        lines.append(f"- {code(run['command'] or 'zoo.benchmarks.runner.run, from Python')} ({plain(setup)})")
    return lines


def grid(
    records: Sequence[Record],
    bold: Mapping[str, Collection[str]],
    tasks: Sequence[str],
    models: Sequence[str],
    text: Callable[[Record], str],
) -> list[str]:
    """A row for each task, a column for each model. bold: task -> models with a bold score."""
    by_cell = {(record.task, record.model): record for record in records}
    lines = ["| " + row([plain(name) for name in models]), "|-" * (len(models) + 1) + "|"]
    for task in tasks:
        cells = []
        for name in models:
            record = by_cell.get((task, name))
            score, shown = (number(record, record.score), text(record)) if record else ("", "")
            cells.append(shown.replace(score, f"**{score}**", 1) if name in bold.get(task, ()) else shown)
        lines.append(row([plain(heading(task, records)), *cells]))
    return lines


def line(record: Record) -> str:
    """One record for the log."""
    what = f"skipped: {record.reason}" if record.status == "skipped" else f"{record.metric} {cell(record)}"
    return one_line(f"{record.model}: {record.task}: {what} [{record.seconds:.1f} s]")


def skipped(records: Sequence[Record]) -> list[str]:
    """The skipped tasks, with the reason and the models."""
    models: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.status == "skipped":
            models.setdefault((record.task, record.reason), []).append(record.model)
    return [f"{task}: {reason}: {', '.join(names)}" for (task, reason), names in models.items()]


def notes(records: Sequence[Record]) -> list[str]:
    """Notes of the records: what is left out, and a warning for small numbers of groups."""
    remarks = [f"{record.task}: {note}" for record in records for note in record.notes]
    for record in records:
        if record.score is not None and 1 < record.groups < _FEW_GROUPS:
            what = f"{record.task}: only {record.groups} independent groups in test"
            remarks.append(f"{what}; intervals are too narrow there, and few differences can be significant")
        elif record.score is not None and record.groups == 1:
            what = f"{record.task}: all of test is one independent group, such as one speaker"
            remarks.append(f"{what}; the variation between groups is unknown, and no difference can be significant")
    return list(dict.fromkeys(remarks))
