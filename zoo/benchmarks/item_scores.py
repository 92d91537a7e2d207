"""What a subject earned item by item, where a score is a sum of credit over a sum of weight. Paired tests need it.

Of other scores, such as R2 or the area under a ROC curve, each group gets its jackknife pseudo-value G t - (G - 1) t_g,
with t_g the score without group g: their mean is the score but for its bias, and for areas they lead to the test of
DeLong et al. (1988).

Legend: N items, G groups.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.benchmarks.metrics import METRICS
from zoo.benchmarks.results import Record, Rows
from zoo.errors import ConfigError


@dataclass(frozen=True)
class ItemScore:
    """credit / weight: of one item's share in the score; group: what the item is not independent within."""

    credit: float
    weight: float
    group: str


def item_scores(kind: str, metric: str, rows: Rows) -> dict[str, ItemScore]:
    """By item. Empty where the score is no such ratio: R2, average precision, ...

    Raises ConfigError where two rows are of one item: it would stand for both.
    """
    found: dict[str, ItemScore] = {}
    for row in rows:
        if "credit" in row:
            credit, weight = row["credit"], row["weight"]
        elif kind == "wer":
            credit, weight = row["errors"], row["words"]
        elif kind == "retrieval":
            credit, weight = 1 / row["rank"], 1.0
        elif metric == "accuracy":
            credit, weight = float(np.mean([guess == row["truth"] for guess in guesses(row["predicted"])])), 1.0
        else:
            return {}
        if row["item"] in found:
            raise ConfigError(
                f"item {row['item']!r} is there twice, and items are paired by name; if these predictions were made "
                "before clips of one name were told apart, examine again, into another folder"
            )
        found[row["item"]] = ItemScore(float(credit), float(weight), row["group"])
    return found


def pseudo_values(metric: str, rows: Rows) -> dict[str, ItemScore]:
    """By group. Empty for fewer than three groups, and for metrics that are not of zoo.benchmarks.metrics."""
    if metric not in METRICS or not rows or "predicted" not in rows[0]:
        return {}
    groups = np.array([row["group"] for row in rows])
    names = np.unique(groups)
    if len(names) < 3:
        return {}
    truth = np.array([row["truth"] for row in rows])
    of_class = truth.ndim == 1
    said = np.array([guesses(row["predicted"]) if of_class else row["predicted"] for row in rows])

    def score(chosen: np.ndarray) -> float:
        seeds = said[chosen].T if of_class else [said[chosen]]
        return float(np.mean([METRICS[metric](each, truth[chosen]) for each in seeds]))

    whole = score(np.ones(len(rows), dtype=bool))
    values = {str(name): len(names) * whole - (len(names) - 1) * score(groups != name) for name in names}
    return {name: ItemScore(value, 1.0, name) for name, value in values.items() if np.isfinite(value)}


def guesses(predicted: object) -> list[object]:
    """One of each seed."""
    return predicted if isinstance(predicted, list) else [predicted]


def read_rows(folder: Path, record: Record) -> Rows:
    """What was said of each test item, from the file that the record names; nothing where it names none.

    Raises ConfigError where the file is not there, or damaged.
    """
    if not record.predictions:
        return []
    path = folder / record.predictions
    try:
        with path.open("rb") as file:  # bytes: as text, a line separator inside a transcript would end the line
            return [json.loads(line) for line in file]
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: what was said of each clip is not there; examine again, into another folder"
        ) from None
    except ValueError as error:
        raise ConfigError(f"{path}: damaged ({error}); examine again, into another folder") from None
