"""Classes in report.html: scores of each class, and a heat map of the confusions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from zoo.benchmarks import confusion
from zoo.benchmarks.results import Record

_MAX_MAP = 20  # classes of a heat map; of more classes, the worst pairs are shown
_MAX_PAIRS = 20


def section(records: Sequence[Record]) -> str:
    """A part to unfold for each task with classes, with a map and a table for each model. Empty without any."""
    shown = [record for record in records if record.role == "model" and confusion.known(record)]
    parts = []
    tasks = list(dict.fromkeys(record.task for record in shown))
    kind = "<details open>" if len(tasks) == 1 else "<details>"
    for task in tasks:
        of_task = [record for record in shown if record.task == task]
        figures = "".join(_figure(record) for record in of_task)
        parts.append(f'{kind}<summary>{escape(task)}</summary><div class="maps">{figures}</div></details>')
    if not parts:
        return ""
    legend = (
        "<p>Rows: true classes. Columns: predicted classes. Numbers: % of the test items of the true class, mean over "
        f"seeds. With more than {_MAX_MAP} classes: the pairs that are confused most often.</p>"
    )
    return legend + "".join(parts)


def _figure(record: Record) -> str:
    classes = list(record.details["by class"])
    chart = _pairs(record) if len(classes) > _MAX_MAP else _map(record, classes)
    return f"<figure><figcaption>{escape(record.model)}</figcaption>{chart}{_scores(record)}</figure>"


def _map(record: Record, classes: Sequence[str]) -> str:
    head = "".join(f'<th class="turned"><span>{escape(name)}</span></th>' for name in classes)
    rows = []
    for truth, counts in record.details["confusion"].items():
        total = sum(counts.values())
        cells = [_map_cell(counts.get(name, 0) / total, right=name == truth) for name in classes]
        rows.append(f'<tr><th scope="row">{escape(truth)}</th>{"".join(cells)}</tr>')
    return f'<div class="wide"><table class="map"><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'


def _map_cell(share: float, *, right: bool) -> str:
    kind = "heat right" if right else "heat"
    text = f"{100 * share:.0f}" if share else ""
    return f'<td class="{kind}" style="--heat: {share:.2f}">{text}</td>'


def _pairs(record: Record) -> str:
    pairs = confusion.pairs(record)[:_MAX_PAIRS]
    if not pairs:
        return "<p>No class is confused.</p>"
    rows = []
    for pair in pairs:
        share = _map_cell(pair.share, right=False)
        rows.append(f'<tr><th scope="row">{escape(pair.truth)}</th><td>{escape(pair.predicted)}</td>{share}</tr>')
    return f'<table class="map"><tr><th>true</th><th>predicted</th><th>%</th></tr>{"".join(rows)}</table>'


def _scores(record: Record) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("class", "test items", "recall", "precision", "F1"))
    rows = []
    for name, scores in record.details["by class"].items():
        values = [scores[key] for key in ("recall", "precision", "f1")]
        cells = "".join(f"<td>{'-' if value is None else f'{value:.2f}'}</td>" for value in values)
        rows.append(f'<tr><th scope="row">{escape(name)}</th><td>{scores["items"]}</td>{cells}</tr>')
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
