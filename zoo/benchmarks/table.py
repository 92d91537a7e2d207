"""Results as a Markdown table: a row per subject, a column per task, every number with its interval."""

from __future__ import annotations

from zoo.benchmarks.results import Record, Store


def markdown(store: Store) -> str:
    """The whole page: one table, what was skipped, and what has to be known beside the numbers."""
    records = list(store.records.values())
    tasks = list(dict.fromkeys(record.task for record in records))
    names = list(dict.fromkeys(record.subject for record in records))
    found = {(record.subject, record.task): record for record in records}
    metrics = {task: next((r.metric for r in records if r.task == task and r.metric), "") for task in tasks}
    lines = [f"# {store.suite}", "", "| | " + " | ".join(f"{task} ({metrics[task]})" for task in tasks) + " |"]
    lines.append("|-" * (len(tasks) + 1) + "|")
    for name in names:
        cells = [cell(found.get((name, task))) for task in tasks]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "Score (95 % interval; over speakers or pieces where the data names them). Layer chosen on dev."]
    lines += _remarks(records)
    return "\n".join(lines) + "\n"


def cell(record: Record | None) -> str:
    """One number as the table shows it."""
    if record is None:
        return ""
    if record.score is None:
        return "skipped"
    score, low, high = (_number(record, value) for value in (record.score, record.low, record.high))
    layer = f", layer {record.layer}" if record.layer is not None and record.curves.get("dev", [0])[1:] else ""
    return f"{score} ({low} to {high}){layer}"


def line(record: Record) -> str:
    """One record for the log."""
    what = f"skipped: {record.reason}" if record.status == "skipped" else f"{record.metric} {cell(record)}"
    return f"{record.subject}: {record.task}: {what} [{record.seconds:.1f} s]"


def _number(record: Record, value: float | None) -> str:
    if value is None or value != value:
        return "?"
    if record.kind == "speed":
        return f"{value:.1f}"
    return f"{100 * value:.1f} %" if record.kind == "wer" else f"{value:.3f}"


def _remarks(records: list[Record]) -> list[str]:
    lines = []
    skipped = [record for record in records if record.status == "skipped"]
    if skipped:
        lines += ["", "Skipped:", *(f"- {record.task}, {record.subject}: {record.reason}" for record in skipped)]
    notes = list(dict.fromkeys(f"{record.task}: {note}" for record in records for note in record.notes))
    if notes:
        lines += ["", "Notes:", *(f"- {note}" for note in notes)]
    rates = [record for record in records if record.kind == "wer" and record.details]
    if rates:
        lines += ["", "| | normaliser | WER | CER | S | D | I |", "|-|-|-|-|-|-|-|"]
    for record in rates:
        for name, found in record.details.items():
            counts = " | ".join(str(found[key]) for key in ("substitutions", "deletions", "insertions"))
            rate = f"{100 * found['wer']:.1f} % ({100 * found['low']:.1f} to {100 * found['high']:.1f})"
            lines.append(
                f"| {record.subject}, {record.task} | {name} | {rate} | {100 * found['cer']:.1f} % | {counts} |"
            )
    return lines
