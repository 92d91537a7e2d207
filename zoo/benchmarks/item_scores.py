"""Scores of single test items, for paired tests. The score of a task is the sum of values over the sum of weights.

Other scores, such as R2 or the area under a ROC curve, are no such ratio. Then each group gets its jackknife
pseudo-value G t - (G - 1) t_g, where t_g is the score without group g. The mean of the pseudo-values is the score, up
to its bias. For areas they lead to the test of DeLong et al. (1988).

Legend: N items, G groups.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.benchmarks.metrics import METRICS
from zoo.benchmarks.results import Record, Rows
from zoo.errors import ConfigError


@dataclass(frozen=True)
class ItemScore:
    """value / weight is the score of one item. Items of one group (speaker, piece) are not independent."""

    value: float
    weight: float
    group: str


def item_scores(kind: str, metric: str, rows: Rows) -> dict[str, ItemScore]:
    """Item scores by item name. Empty if the score is no ratio of sums: R2, average precision, ...

    Raises ConfigError if two rows have the same item.
    """
    scores: dict[str, ItemScore] = {}
    for row in rows:
        if "value" in row:
            value, weight = row["value"], row["weight"]
        elif kind == "wer":
            value, weight = row["errors"], row["words"]
        elif kind == "retrieval":
            value, weight = 1 / row["rank"], 1.0
        elif metric == "accuracy":
            correct = [prediction == row["truth"] for prediction in seed_predictions(row["predicted"])]
            value, weight = float(np.mean(correct)), 1.0
        else:
            return {}
        if row["item"] in scores:
            raise ConfigError(
                f"item {row['item']!r} occurs twice, but items are paired by name; run the benchmark again, into "
                "another folder"
            )
        scores[row["item"]] = ItemScore(float(value), float(weight), row["group"])
    return scores


def pseudo_values(metric: str, rows: Rows, classes: Sequence[str] = ()) -> dict[str, ItemScore]:
    """Pseudo-values by group. Empty for fewer than three groups, and for metrics not in zoo.benchmarks.metrics.

    classes: names of all classes of the task; metrics get indices into them.
    """
    if metric not in METRICS or not rows or "predicted" not in rows[0]:
        return {}
    groups = np.array([row["group"] for row in rows])
    names = np.unique(groups)
    if len(names) < 3:
        return {}
    truth = np.array([row["truth"] for row in rows])
    if truth.ndim == 1:  # classes
        predicted = np.array([seed_predictions(row["predicted"]) for row in rows])  # (N, S)
        class_names = np.unique([*classes, *truth, *predicted.ravel()])
        truth = np.searchsorted(class_names, truth)
        seeds = np.searchsorted(class_names, predicted).T
    else:
        seeds = np.array([row["predicted"] for row in rows])[None]

    def score(selected: np.ndarray) -> float:
        of_seeds = [METRICS[metric](seed[selected], truth[selected]) for seed in seeds]
        return float(np.mean(of_seeds))

    whole = score(np.ones(len(rows), dtype=bool))
    values = {}
    for name in names:
        value = len(names) * whole - (len(names) - 1) * score(groups != name)
        if np.isfinite(value):
            values[str(name)] = ItemScore(value, 1.0, str(name))
    return values


def seed_predictions(predicted: object) -> list[object]:
    """One prediction per seed."""
    return predicted if isinstance(predicted, list) else [predicted]


def read_rows(folder: Path, record: Record) -> Rows:
    """Predictions of the test items, from the file that the record names. Empty if it names none.

    Raises ConfigError if the file is missing or damaged.
    """
    if not record.predictions:
        return []
    path = folder / record.predictions
    try:
        with path.open("rb") as file:  # bytes: as text, a line separator inside a transcript would end the line
            return [json.loads(line) for line in file]
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: the file of predictions is missing; run the benchmark again, into another folder"
        ) from None
    except ValueError as error:
        raise ConfigError(f"{path}: damaged ({error}); run the benchmark again, into another folder") from None
