"""Results as Markdown: scores with their intervals, and tables of details for each kind of task.

The HTML report shows the same cells and details.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from zoo.benchmarks.markdown import block, code, one_line, plain, row
from zoo.benchmarks.results import Record, Results

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
BOLD_BY_RANK = "Bold: no model in the whole result is significantly better."
"""For files of results from before `Results.best`."""

_FEW_GROUPS = 5  # with fewer groups, the bootstrap underestimates the variation between groups


@dataclass(frozen=True)
class Sheet:
    """A table of details: title, names of the columns, rows of cells."""

    title: str
    head: list[str]
    rows: list[list[str]]


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
    lines += ["", *grid(records, results.bold(), tasks, models, cell), "", FOOTNOTE, BOLD]
    remarks = notes(records)
    if outdated := len(results.records) - len(records):
        remarks.append(f"{outdated} results with older data or settings are in the file but not shown")
    for title, items in (("Skipped", skipped(records)), ("Notes", remarks)):
        if items:
            lines += ["", f"{title}:", "", *(f"- {block(item)}" for item in items)]
    return "\n".join([*lines, *detail_lines(records)]) + "\n"


def detail_lines(records: Sequence[Record]) -> list[str]:
    """The tables of details, each with its title above."""
    return [part for sheet in details(records) for part in ("", f"{block(sheet.title)}:", "", *sheet_lines(sheet))]


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
    for run in (results.runs[number] for number in used):
        hardware = ", ".join(filter(None, [run["machine"], run["gpu"], f"threads: {run['threads']}"]))
        setup = f"commit {run['commit'] or 'unknown'}, {hardware}, torch {run['torch']}, {run['day']}"
        lines.append(f"- {code(run['command'] or 'zoo.benchmarks.runner.run, from Python')} ({setup})")
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


def heading(task: str, records: Sequence[Record]) -> str:
    """The name of a task with its metric."""
    metric = next((record.metric for record in records if record.task == task and record.metric), "")
    return f"{task} ({metric})" if metric else task


def cell(record: Record) -> str:
    """A score as the table shows it: with interval and layer."""
    if record.score is None:
        return "skipped"
    layer = ""
    if "weights" in record.curves or len({fold["layer"] for fold in record.details.get("folds", {}).values()}) > 1:
        layer = f", mostly layer {record.layer}"
    elif record.layer is not None and record.curves.get("dev", [0])[1:]:
        layer = f", layer {record.layer}"
    return f"{number(record, record.score)} ({interval(record)}){layer}"


def interval(record: Record) -> str:
    """The bounds of the interval. There is none if the whole test set is one speaker or piece."""
    return _bounds(record.low, record.high, partial(number, record))


def number(record: Record, value: float | None) -> str:
    """A score or bound in the unit of its metric."""
    if value is None or value != value:
        return "?"
    if record.kind in ("speed", "hallucination"):
        return f"{value:.1f}"
    sign = "+" if record.kind == "robustness" else ""
    return f"{100 * value:{sign}.1f} %" if record.metric == "EER" or "WER" in record.metric else f"{value:{sign}.3f}"


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


def details(records: Sequence[Record]) -> list[Sheet]:
    """Tables of details: one for each kind of task that has details, and one for each robustness task."""
    detailed = [record for record in records if record.status == "ok" and record.details]
    sheets = []
    for kind, (title, head, rows) in _DETAILS.items():
        kind_rows = [row for record in detailed if record.kind == kind for row in rows(record)]
        sheets += [Sheet(title, ["", *head], kind_rows)] if kind_rows else []
    robust = [record for record in detailed if record.kind == "robustness"]
    tasks = dict.fromkeys(record.task for record in robust)
    return sheets + [_robustness([record for record in robust if record.task == task]) for task in tasks]


def _robustness(records: Sequence[Record]) -> Sheet:
    """A row for each model on one task, a column for each condition."""

    def text(record: Record, result: Mapping[str, float]) -> str:
        score, change, low, high = (number(record, result[key]) for key in ("score", "change", "low", "high"))
        return f"{score.lstrip('+')}: {change} ({low} to {high})"

    conditions = list(records[0].details["conditions"])
    rows = [
        [
            record.model,
            number(record, record.details["clean"]).lstrip("+"),
            *(text(record, record.details["conditions"][name]) for name in conditions),
        ]
        for record in records
    ]
    return Sheet(f"{records[0].task}: score, and its change with 95 % interval", ["", "clean", *conditions], rows)


def sheet_lines(sheet: Sheet) -> list[str]:
    """A table of details in Markdown."""
    lines = [sheet.head, ["-"] * len(sheet.head), *sheet.rows]
    return [row([plain(text) for text in cells]) for cells in lines]


def _label(record: Record) -> str:
    return f"{record.model}, {record.task}"


def _percent(value: float | None) -> str:
    return "?" if value is None else f"{100 * value:.1f}"


def _bounds(low: float | None, high: float | None, shown: Callable[[float | None], str]) -> str:
    return "no interval" if low is None or low != low else f"{shown(low)} to {shown(high)}"


def _wer(record: Record) -> list[list[str]]:
    return [
        [
            _label(record),
            name,
            f"{_percent(rates['wer'])} % ({_bounds(rates['low'], rates['high'], _percent)})",
            f"{_percent(rates['cer'])} %",
            *(str(rates[key]) for key in ("substitutions", "deletions", "insertions")),
        ]
        for name, rates in record.details.items()
    ]


def _hallucination(record: Record) -> list[list[str]]:
    return [
        [
            _label(record),
            sound,
            f"{counts['words'] / counts['minutes']:.1f}",
            f"{counts['clips with words']} of {counts['clips']}",
            counts["longest"],
        ]
        for sound, counts in record.details.items()
    ]


def _units(record: Record) -> list[list[str]]:
    consistency = record.details["consistency"]
    noise = "; ".join(f"{name}: {_percent(share)} %" for name, share in consistency.items())
    rows = []
    for book, measures in record.details.items():
        if book == "consistency":
            continue
        shares = [f"{measures[key]:.3f}" for key in ("pnmi", "phone_purity", "cluster_purity", "boundary_f1")]
        used = f"{measures['used']} of {measures['units']}, perplexity {measures['perplexity']:.1f}"
        rates = f"{measures['bit rate']:.0f}, {measures['bit rate of runs']:.0f}"
        rows.append([f"{_label(record)}, {book}", *shares, used, rates, noise])
    return rows


def _speed(record: Record) -> list[list[str]]:
    details = record.details
    size = f"{details['parameters'] / 1e6:.1f}"
    return [[_label(record), cell(record), size, f"{details['gmacs']:.2f}", _mib(details["peak_mib"])]]


def _mib(value: float | None) -> str:
    return "?" if value is None or value != value else f"{value:.0f}"


def _text_to_audio(record: Record) -> list[list[str]]:
    details = record.details
    if record.kind == "zero_shot":
        by_template = "; ".join(f"{template}: {value:.3f}" for template, value in details["by template"].items())
        return [[_label(record), cell(record), f"{details['chance']:.3f}", by_template]]
    ranks = [f"{details[key]:.3f}" for key in ("recall@1", "recall@10")]
    return [[_label(record), cell(record), f"{details['chance']:.3f}", *ranks, f"{details['median rank']:g}"]]


_Rows = Callable[[Record], list[list[str]]]
_DETAILS: dict[str, tuple[str, list[str], _Rows]] = {
    "wer": ("Word errors by normalizer", ["normalizer", "WER", "CER", "S", "D", "I"], _wer),
    "hallucination": (
        "Words in audio without speech",
        ["sound", "words a minute", "clips with words", "longest"],
        _hallucination,
    ),
    "units": (
        "Units",
        ["PNMI", "phone purity", "cluster purity", "boundary F1", "used", "bit/s, of runs", "units kept in noise"],
        _units,
    ),
    "retrieval": ("Retrieval", ["MRR", "chance", "recall@1", "recall@10", "median rank"], _text_to_audio),
    "zero_shot": ("Zero-shot", ["accuracy", "chance", "by template"], _text_to_audio),
    "speed": ("Speed", ["x real time (range)", "million parameters", "GMAC/s of audio", "peak MiB"], _speed),
}
