"""The exam on paper: results.json for machines, summary.md for people."""

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
SUBJECTS = (TRAINED, BEFORE, RIDGE)


def write(folder: Path, exam: MulanEvaluation, config: MulanTrainConfig) -> str:
    """Write both files below a run folder; returns what to tell at once."""
    with replacing_file(folder / RESULTS) as partial:
        partial.write_text(json.dumps(_record(exam, config), indent=2) + "\n", encoding="utf-8")
    text = summary(exam, config)
    with replacing_file(folder / SUMMARY) as partial:
        partial.write_text(text, encoding="utf-8")
    return f"{text}\nwritten to {folder / SUMMARY} and {folder / RESULTS}"


def summary(exam: MulanEvaluation, config: MulanTrainConfig) -> str:
    """Tables in Markdown: retrieval, zero-shot, probes, and the differences with their intervals."""
    units = f"{exam.groups} groups of one {config.exam.group}" if exam.groups < exam.clips else "clips"
    lines = [
        f"# {config.name}: {exam.clips} test clips",
        "",
        f"Trained on {config.data.source}, {config.train.steps} steps, {config.loss.value} loss, seed "
        f"{config.train.seed}. In brackets: 95 % intervals over {units}.",
    ]
    for task in DIRECTIONS:
        lines += _retrieval(task, [row for row in exam.rows if row.task == task])
    for kind, last in (
        ("zero-shot", ["chance", "commonest class", "single prompts"]),
        ("probe", ["commonest class"]),
    ):
        tasks = dict.fromkeys(row.task for row in exam.rows if row.task.startswith(kind))
        rows = [_classes([row for row in exam.rows if row.task == task]) for task in tasks]
        lines += table([f"{kind} accuracy", *SUBJECTS, *last], rows)
    lines += table(
        ["trained minus", "task", "difference", "p"],
        [
            [
                other,
                f"{task}, {metric}",
                f"{found.difference:+.3f} ({found.interval.low:+.3f} to {found.interval.high:+.3f})",
                probability(found.p),
            ]
            for (task, metric, other), found in exam.comparisons.items()
            if metric in ("MRR", "accuracy")
        ],
    )
    return "\n".join(lines) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table with an empty one above; nothing where there are no rows."""
    if not rows:
        return []
    return ["", *("| " + " | ".join(cells) + " |" for cells in (header, ["-"] * len(header), *rows))]


def _retrieval(task: str, rows: Sequence[MulanScore]) -> list[str]:
    """A line for each subject, and chance."""
    body = [[subject, *(_cell(row) for row in rows if row.subject == subject)] for subject in SUBJECTS]
    trained = [row for row in rows if row.subject == TRAINED]
    by_chance = ["chance", *(_number(row.metric, row.chance) for row in trained)]
    return table([task, *(row.metric for row in trained)], [*body, by_chance])


def _classes(rows: Sequence[MulanScore]) -> list[str]:
    """The line of one column of labels: subjects, chance, and what the details hold."""
    details = rows[0].details
    name = f"{rows[0].task.partition(' ')[2]} ({details['classes']})"
    cells = [_cell(row) for subject in SUBJECTS for row in rows if row.subject == subject]
    last = [f"{rows[0].chance:.3f}"]
    if "by prompt" in details:
        alone = details["by prompt"].values()
        last += [f"{details['commonest class']:.3f}", f"{min(alone):.3f} to {max(alone):.3f}"]
    return [name, *cells, *last]


def _cell(row: MulanScore) -> str:
    low, high = (_number(row.metric, bound) for bound in (row.interval.low, row.interval.high))
    return f"{_number(row.metric, row.value)} ({low} to {high})"


def _number(metric: str, value: float) -> str:
    return f"{value:.1f}" if metric == "median rank" else f"{value:.3f}"


def probability(value: float) -> str:
    """As it is shown: below a thousandth, resampling cannot tell."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _record(exam: MulanEvaluation, config: MulanTrainConfig) -> dict[str, Any]:
    return {
        "name": config.name,
        "data": config.data.source,
        "seed": config.train.seed,
        "clips": exam.clips,
        "groups": exam.groups,
        "environment": environment(),
        "rows": [
            {
                "task": row.task,
                "metric": row.metric,
                "subject": row.subject,
                "value": row.value,
                "low": row.interval.low,
                "high": row.interval.high,
                "chance": row.chance,
                "details": row.details,
            }
            for row in exam.rows
        ],
        "comparisons": [
            {
                "task": task,
                "metric": metric,
                "trained minus": other,
                "difference": found.difference,
                "low": found.interval.low,
                "high": found.interval.high,
                "p": found.p,
            }
            for (task, metric, other), found in exam.comparisons.items()
        ],
    }
