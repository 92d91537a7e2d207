"""Tables of details for each kind of task, for results.md and report.html."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from zoo.benchmarks import confusion
from zoo.benchmarks.results import Record
from zoo.benchmarks.scores import bounds, cell, number
from zoo.io.markdown import block, plain, row

RETRIEVAL = ("R@1", "R@5", "R@10", "MRR", "mAP", "median rank")
_FEW = 5  # classes and pairs in the table about classes


@dataclass(frozen=True)
class Sheet:
    """A table of details: title, names of the columns, rows of cells."""

    title: str
    head: list[str]
    rows: list[list[str]]


def sheets(records: Sequence[Record]) -> list[Sheet]:
    """Tables of details: one for each kind of task with details, and one for each robustness task."""
    detailed = [record for record in records if record.status == "ok" and record.details]
    found = []
    for kind, (title, head, rows) in _DETAILS.items():
        kind_rows = [row for record in detailed if record.kind == kind for row in rows(record)]
        if kind_rows:
            found.append(Sheet(title, ["", *head], kind_rows))
    retrieval = [record for record in detailed if record.kind == "retrieval" and "metrics" in record.details]
    if retrieval:
        rows_of_metrics = [_retrieval_metrics(record) for record in retrieval]
        found.append(Sheet("Retrieval, all metrics", ["", *RETRIEVAL, "of a random order"], rows_of_metrics))
    robust = [record for record in detailed if record.kind == "robustness"]
    tasks = dict.fromkeys(record.task for record in robust)
    found += [_robustness([record for record in robust if record.task == task]) for task in tasks]
    return found


def class_sheet(records: Sequence[Record]) -> Sheet:
    """A row for each model on each task with classes: what it gets wrong most often."""
    rows = [_classes(record) for record in records if record.role == "model" and confusion.known(record)]
    return Sheet("Classes", ["", "lowest recall", "most frequent confusions"], rows)


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
    rows = [sheet.head, ["-"] * len(sheet.head), *sheet.rows]
    return [row([plain(text) for text in cells]) for cells in rows]


def lines(records: Sequence[Record]) -> list[str]:
    """The tables of details that are not empty, each with its title above."""
    page: list[str] = []
    tables = [*sheets(records), class_sheet(records)]
    for sheet in tables:
        if not sheet.rows:
            continue
        page += ["", f"{block(sheet.title)}:", "", *sheet_lines(sheet)]
    return page


def _classes(record: Record) -> list[str]:
    """The classes with the lowest recall, and the pairs that are confused most often."""
    recalls = [f"{name} {recall:.2f}" for name, recall in confusion.lowest_recalls(record)[:_FEW]]
    pairs = [f"{pair.truth} as {pair.predicted} {pair.share:.0%}" for pair in confusion.pairs(record)[:_FEW]]
    return [_label(record), "; ".join(recalls), "; ".join(pairs) or "none"]


def _label(record: Record) -> str:
    return f"{record.model}, {record.task}"


def _percent(value: float | None) -> str:
    return "?" if value is None else f"{100 * value:.1f}"


def _wer(record: Record) -> list[list[str]]:
    return [
        [
            _label(record),
            name,
            f"{_percent(rates['wer'])} % ({bounds(rates['low'], rates['high'], _percent)})",
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


def _retrieval_metrics(record: Record) -> list[str]:
    """All metrics with their intervals, then their values for a random order."""
    cells = []
    by_chance = []
    for name in RETRIEVAL:
        metric = record.details["metrics"][name]
        shown = partial(_rounded, digits=1 if name == "median rank" else 3)
        cells.append(f"{shown(metric['score'])} ({bounds(metric['low'], metric['high'], shown)})")
        by_chance.append(f"{name} {shown(metric['chance'])}")
    return [_label(record), *cells, ", ".join(by_chance)]


def _rounded(value: float | None, digits: int) -> str:
    return "?" if value is None else f"{value:.{digits}f}"


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
