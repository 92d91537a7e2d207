"""Reports of the evaluation: results.json for programs, summary.md for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.io.atomic import replacing_file
from zoo.recipes.mulan.config import MulanTrainConfig
from zoo.recipes.mulan.evaluation import BEFORE, DIRECTIONS, RIDGE, TRAINED, MulanEvaluation, MulanScore
from zoo.train.runfolder import environment

RESULTS, SUMMARY = "results.json", "summary.md"
MODELS = (TRAINED, BEFORE, RIDGE)


def write(folder: Path, evaluation: MulanEvaluation, config: MulanTrainConfig) -> str:
    """Write both files into a run folder; returns a text for the console."""
    with replacing_file(folder / RESULTS) as partial:
        partial.write_text(json.dumps(_record(evaluation, config), indent=2) + "\n", encoding="utf-8")
    text = summary(evaluation, config)
    with replacing_file(folder / SUMMARY) as partial:
        partial.write_text(text, encoding="utf-8")
    return f"{text}\nwritten to {folder / SUMMARY} and {folder / RESULTS}"


def summary(evaluation: MulanEvaluation, config: MulanTrainConfig) -> str:
    """Tables in Markdown: retrieval, zero-shot, probes, and the differences with their intervals."""
    units = (
        f"{evaluation.groups} groups of one {config.evaluation.group}"
        if evaluation.groups < evaluation.clips
        else "clips"
    )
    lines = [
        f"# {config.name}: {evaluation.clips} test clips",
        "",
        f"Trained on {config.data.source}, {config.train.steps} steps, {config.loss.value} loss, seed "
        f"{config.train.seed}. In brackets: 95 % intervals over {units}.",
    ]
    for task in DIRECTIONS:
        lines += _retrieval(task, [row for row in evaluation.rows if row.task == task])
    for kind, last in (
        ("zero-shot", ["chance", "commonest class", "single prompts"]),
        ("probe", ["commonest class"]),
    ):
        tasks = dict.fromkeys(row.task for row in evaluation.rows if row.task.startswith(kind))
        rows = [_classes([row for row in evaluation.rows if row.task == task]) for task in tasks]
        lines += table([f"{kind} accuracy", *MODELS, *last], rows)
    lines += table(
        ["trained minus", "task", "difference", "p"],
        [
            [
                other,
                f"{task}, {metric}",
                f"{comparison.difference:+.3f} ({comparison.interval.low:+.3f} to {comparison.interval.high:+.3f})",
                probability(comparison.p),
            ]
            for (task, metric, other), comparison in evaluation.comparisons.items()
            if metric in ("MRR", "accuracy")
        ],
    )
    return "\n".join(lines) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table after an empty line; no lines if there are no rows."""
    if not rows:
        return []
    return ["", *("| " + " | ".join(cells) + " |" for cells in (header, ["-"] * len(header), *rows))]


def _retrieval(task: str, rows: Sequence[MulanScore]) -> list[str]:
    """A table with a line for each model, and chance."""
    body = [[model, *(_cell(row) for row in rows if row.model == model)] for model in MODELS]
    trained = [row for row in rows if row.model == TRAINED]
    by_chance = ["chance", *(_number(row.metric, row.chance) for row in trained)]
    return table([task, *(row.metric for row in trained)], [*body, by_chance])


def _classes(rows: Sequence[MulanScore]) -> list[str]:
    """The line of one label column: models, chance, and the details of the first model."""
    details = rows[0].details
    name = f"{rows[0].task.partition(' ')[2]} ({details['classes']})"
    cells = [_cell(row) for model in MODELS for row in rows if row.model == model]
    last = [f"{rows[0].chance:.3f}"]
    if "by prompt" in details:
        by_prompt = details["by prompt"].values()
        last += [f"{details['commonest class']:.3f}", f"{min(by_prompt):.3f} to {max(by_prompt):.3f}"]
    return [name, *cells, *last]


def _cell(row: MulanScore) -> str:
    low, high = (_number(row.metric, bound) for bound in (row.interval.low, row.interval.high))
    return f"{_number(row.metric, row.value)} ({low} to {high})"


def _number(metric: str, value: float) -> str:
    return f"{value:.1f}" if metric == "median rank" else f"{value:.3f}"


def probability(value: float) -> str:
    """A p-value as text. Resampling cannot resolve values below 0.001."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _record(evaluation: MulanEvaluation, config: MulanTrainConfig) -> dict[str, Any]:
    return {
        "name": config.name,
        "data": config.data.source,
        "seed": config.train.seed,
        "clips": evaluation.clips,
        "groups": evaluation.groups,
        "environment": environment(),
        "rows": [
            {
                "task": row.task,
                "metric": row.metric,
                "model": row.model,
                "value": row.value,
                "low": row.interval.low,
                "high": row.interval.high,
                "chance": row.chance,
                "details": row.details,
            }
            for row in evaluation.rows
        ],
        "comparisons": [
            {
                "task": task,
                "metric": metric,
                "trained minus": other,
                "difference": comparison.difference,
                "low": comparison.interval.low,
                "high": comparison.interval.high,
                "p": comparison.p,
            }
            for (task, metric, other), comparison in evaluation.comparisons.items()
        ],
    }
