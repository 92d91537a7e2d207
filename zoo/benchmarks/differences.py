"""Comparisons as tables and as JSON: the difference of each model to the best one, with intervals and p values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.benchmarks import details, scores
from zoo.benchmarks.compare import ComparedModel, TaskComparison
from zoo.benchmarks.significance import LEVEL, Comparison
from zoo.io.markdown import block

LEGEND = (
    f"Rank: models below the best of a rank share it, up to the first that is significantly worse (at {LEVEL:.0%}). "
    "p: paired bootstrap over groups, for one pair. Corrected p: with Holm's correction over all differences to the "
    "best; it decides. McNemar's test ignores groups and takes items as independent."
)


def sheets(comparisons: Sequence[TaskComparison]) -> list[details.Sheet]:
    """A table per task, the best model first."""
    return [_sheet(comparison) for comparison in comparisons]


def markdown(comparisons: Sequence[TaskComparison]) -> str:
    """The tables and their notes as a page."""
    lines = []
    for comparison, sheet in zip(comparisons, sheets(comparisons), strict=True):
        lines += [f"## {block(sheet.title)}", "", *details.sheet_lines(sheet)]
        lines += ["", *(f"- {block(note)}" for note in comparison.notes)]
    return "\n".join([*lines, LEGEND]) + "\n"


def as_json(comparisons: Sequence[TaskComparison]) -> list[dict[str, Any]]:
    """An object for each task. Differences are those to the best model; None where there is no test."""
    content = []
    for comparison in comparisons:
        models = [_model_json(comparison, index) for index in range(len(comparison.models))]
        metric = comparison.models[0].record.metric
        content.append({"task": comparison.task, "metric": metric, "models": models, "notes": comparison.notes})
    return content


def _sheet(comparison: TaskComparison) -> details.Sheet:
    first = comparison.models[0].record
    differences = _to_best(comparison)
    by_mcnemar = any(p is not None for _, p in differences.values())
    head = ["rank", "", "score (95 % interval)", "difference to the best", "p", "corrected p"]
    rows = []
    for index, model in enumerate(comparison.models):
        rank = str(comparison.ranks[index]) if comparison.ranks else "?"
        cells = [rank, model.record.model, scores.cell(model.record), "", "", ""]
        mcnemar = None
        if index in differences:
            difference, mcnemar = differences[index]
            cells[3:] = [_shown(model, difference), _p(difference.p), _p(comparison.p_to_best[index])]
        if by_mcnemar:
            cells.append("" if mcnemar is None else _p(mcnemar))
        rows.append(cells)
    title = f"{comparison.task} ({first.metric})"
    return details.Sheet(title, [*head, "McNemar's p"] if by_mcnemar else head, rows)


def _to_best(comparison: TaskComparison) -> dict[int, tuple[Comparison, float | None]]:
    """Index of a model -> the best model minus this one, and McNemar's p."""
    return {second: (difference, p) for first, second, difference, p in comparison.pairs if first == 0}


def _signed(difference: Comparison) -> tuple[float, float, float]:
    """This model minus the best one, with its interval."""
    return 0.0 - difference.difference, 0.0 - difference.interval.high, 0.0 - difference.interval.low


def _shown(model: ComparedModel, difference: Comparison) -> str:
    percent = scores.in_percent(model.record.metric)
    value, low, high = (f"{100 * each:+.1f}" if percent else f"{each:+.3f}" for each in _signed(difference))
    has_interval = difference.interval.low == difference.interval.low
    return f"{value} ({low} to {high})" if has_interval else value


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _model_json(comparison: TaskComparison, index: int) -> dict[str, Any]:
    record = comparison.models[index].record
    content: dict[str, Any] = {"model": record.model, "score": record.score, "low": record.low, "high": record.high}
    content["rank"] = comparison.ranks[index] if comparison.ranks else None
    content["best"] = record.model in comparison.best() if comparison.ranks else None
    keys = ("difference", "difference_low", "difference_high", "p", "corrected_p", "mcnemar_p")
    content |= dict.fromkeys(keys)
    differences = _to_best(comparison)
    if index in differences:
        difference, mcnemar = differences[index]
        values = [*_signed(difference), difference.p, comparison.p_to_best[index], mcnemar]
        content |= {key: None if value != value else value for key, value in zip(keys, values, strict=True)}
    return content
