"""A score as text: in the unit of its metric, with interval and layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from zoo.benchmarks.results import Record


def heading(task: str, records: Sequence[Record]) -> str:
    """The name of a task with its metric."""
    metric = next((record.metric for record in records if record.task == task and record.metric), "")
    return f"{task} ({metric})" if metric else task


def cell(record: Record) -> str:
    """A score as the table shows it: with interval and layer."""
    if record.score is None:
        return "skipped"
    text = f"{number(record, record.score)} ({interval(record)})"
    layer = chosen_layer(record)
    return f"{text}, {layer}" if layer else text


def chosen_layer(record: Record) -> str:
    """Which layer has the score. Empty if there is one layer only."""
    of_folds = {fold["layer"] for fold in record.details.get("folds", {}).values()}
    if "weights" in record.curves or len(of_folds) > 1:
        return f"mostly layer {record.layer}"
    has_choice = len(record.curves.get("dev", ())) > 1
    if record.layer is not None and has_choice:
        return f"layer {record.layer}"
    return ""


def interval(record: Record) -> str:
    """The bounds of the interval. There is none if the whole test set is one speaker or piece."""
    return bounds(record.low, record.high, partial(number, record))


def number(record: Record, value: float | None) -> str:
    """A score or bound in the unit of its metric."""
    if value is None or value != value:
        return "?"
    if record.kind in ("speed", "hallucination"):
        return f"{value:.1f}"
    sign = "+" if record.kind == "robustness" else ""
    return f"{100 * value:{sign}.1f} %" if in_percent(record.metric) else f"{value:{sign}.3f}"


def bounds(low: float | None, high: float | None, shown: Callable[[float | None], str]) -> str:
    return "no interval" if low is None or low != low else f"{shown(low)} to {shown(high)}"


def in_percent(metric: str) -> bool:
    """Whether scores of this metric are shown in percent: error rates, as their fields do."""
    return metric == "EER" or "WER" in metric or metric.startswith("ABX error")
