"""Results in words: every number with its interval, tables of details by kind of task, all as Markdown.

The report shows the same cells and the same details.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from zoo.benchmarks.results import Record, Results

FOOTNOTE = "Score (95 % interval; over speakers or pieces where the data names them). Layer chosen on dev."
BOLD_ON_CARDS = "Bold: nobody in the whole result is significantly better, and someone there is worse."
BOLD = "Bold: nobody is significantly better, and someone is worse (paired bootstrap, Holm's correction)."

_FEW_GROUPS = 5  # resampling fewer says little of those that were not drawn


@dataclass(frozen=True)
class Sheet:
    """A table: title, names of the columns, rows of cells."""

    title: str
    head: list[str]
    rows: list[list[str]]


def markdown(results: Results, said: Sequence[str] = ()) -> str:
    """The whole page: what computed it, one table, what was skipped, and what has to be known beside the numbers.

    said: lines about the results, for the top of the page.
    """
    records = latest(results.records)
    lines = [f"# {results.suite}", "", *(part for line in said for part in (line, "")), *computed(results, records)]
    tasks, subjects = (
        list(dict.fromkeys(names)) for names in ([r.task for r in records], [r.subject for r in records])
    )
    lines += ["", *grid(records, results.ranks, tasks, subjects, cell), "", FOOTNOTE, BOLD]
    remarks = notes(records)
    if former := len(results.records) - len(records):
        remarks.append(f"{former} results of former data or settings are in the file and not shown")
    for title, found in (("Skipped", skipped(records)), ("Notes", remarks)):
        if found:
            lines += ["", f"{title}:", "", *(f"- {remark}" for remark in found)]
    return "\n".join([*lines, *told(records)]) + "\n"


def told(records: Sequence[Record]) -> list[str]:
    """The tables of details, each under its title."""
    return [part for sheet in details(records) for part in ("", f"{sheet.title}:", "", *_lines(sheet))]


def latest(records: Iterable[Record]) -> list[Record]:
    """What is shown: the results on each task's last data and settings; others stay in the file.

    Different models of one name get a part of their fingerprints behind it, so that no row is of two models.
    """
    known = list(records)
    asked = {record.task: (record.data, record.task_key) for record in known}  # the last one stays
    current = [record for record in known if (record.data, record.task_key) == asked[record.task]]
    models: dict[str, set[str]] = {}
    for record in current:
        models.setdefault(record.subject, set()).add(record.model)
    return [
        replace(record, subject=f"{record.subject} ({record.model[:6]})") if len(models[record.subject]) > 1 else record
        for record in current
    ]


def computed(results: Results, records: Sequence[Record]) -> list[str]:
    """Command, commit, hardware and day of every run that one of these records comes from."""
    used = sorted({record.run for record in records if record.run is not None})
    lines = ["Computed by", ""] if used else []
    for run in (results.runs[number] for number in used):
        where = ", ".join(filter(None, [run["machine"], run["gpu"], f"threads: {run['threads']}"]))
        about = f"commit {run['commit'] or 'unknown'}, {where}, torch {run['torch']}, {run['day']}"
        lines.append(f"- `{run['command'] or 'zoo.benchmarks.runner.run, from Python'}` ({about})")
    return lines


def grid(
    records: Sequence[Record],
    ranks: Mapping[str, Mapping[str, int]],
    tasks: Sequence[str],
    subjects: Sequence[str],
    text: Callable[[Record], str],
) -> list[str]:
    """A row for each task, a column for each subject. Bold: nobody is significantly better, and someone is worse."""
    found = {(record.task, record.subject): record for record in records}
    lines = ["| " + row(subjects), "|-" * (len(subjects) + 1) + "|"]
    for task in tasks:
        here = ranks.get(task, {})
        best = [name for name, rank in here.items() if rank == 1 < max(here.values())]
        cells = []
        for name in subjects:
            record = found.get((task, name))
            score, shown = (number(record, record.score), text(record)) if record else ("", "")
            cells.append(shown.replace(score, f"**{score}**", 1) if name in best else shown)
        lines.append(row([heading(task, records), *cells]))
    return lines


def row(cells: Sequence[str]) -> str:
    """A line of a table, whatever characters the cells hold."""
    return "| " + " | ".join(" ".join(text.replace("|", "\\|").splitlines()) for text in cells) + " |"


def heading(task: str, records: Sequence[Record]) -> str:
    """A task with its metric."""
    metric = next((record.metric for record in records if record.task == task and record.metric), "")
    return f"{task} ({metric})" if metric else task


def cell(record: Record) -> str:
    """One number as the table shows it."""
    if record.score is None:
        return "skipped"
    layer = ""
    if "weights" in record.curves or len({fold["layer"] for fold in record.details.get("folds", {}).values()}) > 1:
        layer = f", mostly layer {record.layer}"
    elif record.layer is not None and record.curves.get("dev", [0])[1:]:
        layer = f", layer {record.layer}"
    return f"{number(record, record.score)} ({interval(record)}){layer}"


def interval(record: Record) -> str:
    """Its bounds; none is known where all of test is one speaker or piece."""
    return _bounds(record.low, record.high, partial(number, record))


def number(record: Record, value: float | None) -> str:
    """A score or bound in the unit of its metric."""
    if value is None or value != value:
        return "?"
    if record.kind in ("speed", "hallucination"):
        return f"{value:.1f}"
    sign = "+" if record.kind == "robustness" else ""
    return f"{100 * value:{sign}.1f} %" if "WER" in record.metric else f"{value:{sign}.3f}"


def line(record: Record) -> str:
    """One record for the log."""
    what = f"skipped: {record.reason}" if record.status == "skipped" else f"{record.metric} {cell(record)}"
    return f"{record.subject}: {record.task}: {what} [{record.seconds:.1f} s]"


def skipped(records: Sequence[Record]) -> list[str]:
    """What was not asked, why, and of whom."""
    who: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.status == "skipped":
            who.setdefault((record.task, record.reason), []).append(record.subject)
    return [f"{task}: {reason}: {', '.join(subjects)}" for (task, reason), subjects in who.items()]


def notes(records: Sequence[Record]) -> list[str]:
    """What was left out, or has to be known beside a number."""
    remarks = [f"{record.task}: {note}" for record in records for note in record.notes]
    for record in records:
        if record.score is not None and 1 < record.groups < _FEW_GROUPS:
            what = f"{record.task}: only {record.groups} independent groups in test"
            remarks.append(f"{what}; intervals are too narrow there, and hardly anything can be told apart")
        elif record.score is not None and record.groups == 1:
            what = f"{record.task}: all of test is one independent group, such as one speaker"
            remarks.append(f"{what}; how scores vary from group to group is unknown, and nothing can be told apart")
    return list(dict.fromkeys(remarks))


def details(records: Sequence[Record]) -> list[Sheet]:
    """What there is beside the scores: a table for each kind of task that has any, and for each robustness task."""
    told = [record for record in records if record.status == "ok" and record.details]
    sheets = []
    for kind, (title, head, rows) in _DETAILS.items():
        here = [row for record in told if record.kind == kind for row in rows(record)]
        sheets += [Sheet(title, ["", *head], here)] if here else []
    robust = [record for record in told if record.kind == "robustness"]
    tasks = dict.fromkeys(record.task for record in robust)
    return sheets + [_robustness([record for record in robust if record.task == task]) for task in tasks]


def _robustness(records: Sequence[Record]) -> Sheet:
    """A row for each subject of one task, a column for each condition."""

    def text(record: Record, found: Mapping[str, float]) -> str:
        score, change, low, high = (number(record, found[key]) for key in ("score", "change", "low", "high"))
        return f"{score.lstrip('+')}: {change} ({low} to {high})"

    conditions = list(records[0].details["conditions"])
    rows = [
        [
            record.subject,
            number(record, record.details["clean"]).lstrip("+"),
            *(text(record, record.details["conditions"][name]) for name in conditions),
        ]
        for record in records
    ]
    return Sheet(f"{records[0].task}: score, and its change with 95 % interval", ["", "clean", *conditions], rows)


def _lines(sheet: Sheet) -> list[str]:
    return [row(cells) for cells in (sheet.head, ["-"] * len(sheet.head), *sheet.rows)]


def _who(record: Record) -> str:
    return f"{record.subject}, {record.task}"


def _percent(value: float | None) -> str:
    return "?" if value is None else f"{100 * value:.1f}"


def _bounds(low: float | None, high: float | None, shown: Callable[[float | None], str]) -> str:
    return "no interval" if low is None or low != low else f"{shown(low)} to {shown(high)}"


def _wer(record: Record) -> list[list[str]]:
    return [
        [
            _who(record),
            name,
            f"{_percent(found['wer'])} % ({_bounds(found['low'], found['high'], _percent)})",
            f"{_percent(found['cer'])} %",
            *(str(found[key]) for key in ("substitutions", "deletions", "insertions")),
        ]
        for name, found in record.details.items()
    ]


def _hallucination(record: Record) -> list[list[str]]:
    return [
        [
            _who(record),
            sound,
            f"{found['words'] / found['minutes']:.1f}",
            f"{found['clips with words']} of {found['clips']}",
            found["longest"],
        ]
        for sound, found in record.details.items()
    ]


def _units(record: Record) -> list[list[str]]:
    consistency = record.details["consistency"]
    noise = "; ".join(f"{name}: {_percent(share)} %" for name, share in consistency.items())
    rows = []
    for book, found in record.details.items():
        if book == "consistency":
            continue
        shares = [f"{found[key]:.3f}" for key in ("pnmi", "phone_purity", "cluster_purity", "boundary_f1")]
        used = f"{found['used']} of {found['units']}, perplexity {found['perplexity']:.1f}"
        rates = f"{found['bit rate']:.0f}, {found['bit rate of runs']:.0f}"
        rows.append([f"{_who(record)}, {book}", *shares, used, rates, noise])
    return rows


def _speed(record: Record) -> list[list[str]]:
    found = record.details
    size = f"{found['parameters'] / 1e6:.1f}"
    return [[_who(record), cell(record), size, f"{found['gmacs']:.2f}", _mib(found["peak_mib"])]]


def _mib(value: float | None) -> str:
    return "?" if value is None or value != value else f"{value:.0f}"


def _text_to_audio(record: Record) -> list[list[str]]:
    found = record.details
    if record.kind == "zero_shot":
        alone = "; ".join(f"{template}: {value:.3f}" for template, value in found["by template"].items())
        return [[_who(record), cell(record), f"{found['chance']:.3f}", alone]]
    ranks = [f"{found[key]:.3f}" for key in ("recall@1", "recall@10")]
    return [[_who(record), cell(record), f"{found['chance']:.3f}", *ranks, f"{found['median rank']:g}"]]


_Rows = Callable[[Record], list[list[str]]]
_DETAILS: dict[str, tuple[str, list[str], _Rows]] = {
    "wer": ("Word errors by normalizer", ["normalizer", "WER", "CER", "S", "D", "I"], _wer),
    "hallucination": (
        "Words where nobody speaks",
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
