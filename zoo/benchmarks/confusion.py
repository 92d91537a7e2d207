"""Scores of single classes, and which classes are taken for which.

Legend: N test items, S seeds, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.benchmarks.results import Record

MAX_CLASSES = 200  # with more classes, results.json holds no scores of single classes


@dataclass(frozen=True)
class Pair:
    """Two classes that are confused. share: of the test items of the true class, mean over seeds."""

    truth: str
    predicted: str
    share: float


def class_details(names: Sequence[str], truth: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Details of a record. Empty for more than MAX_CLASSES classes.

    truth (N,), predicted (S, N): indices into the C names.
    "by class": class -> test items, recall, precision and F1 over all seeds; None where a ratio is not defined.
    "confusion": true class -> predicted class -> how often, summed over seeds; only what occurs.
    """
    if len(names) > MAX_CLASSES:
        return {}
    counts = _counts(len(names), truth, predicted)
    by_class = {}
    confusion: dict[str, dict[str, int]] = {}
    for index, name in enumerate(names):
        right = int(counts[index, index])
        true = int(counts[index].sum())
        positive = int(counts[:, index].sum())
        by_class[name] = {
            "items": true // len(predicted),
            "recall": _ratio(right, true),
            "precision": _ratio(right, positive),
            "f1": _ratio(2 * right, true + positive),
        }
        if true:
            row = dict(zip(names, counts[index].tolist(), strict=True))
            confusion[name] = {other: count for other, count in row.items() if count}
    return {"by class": by_class, "confusion": confusion}


def known(record: Record) -> bool:
    """Does this record hold scores of single classes?"""
    return "by class" in record.details and "confusion" in record.details


def lowest_recalls(record: Record) -> list[tuple[str, float]]:
    """Classes and their recall, the lowest first. Classes without test items are left out."""
    by_class = record.details["by class"]
    recalls = [(name, scores["recall"]) for name, scores in by_class.items() if scores["recall"] is not None]
    return sorted(recalls, key=lambda each: each[1])


def pairs(record: Record) -> list[Pair]:
    """All pairs of classes that are confused, the largest share first."""
    found = []
    for truth, counts in record.details["confusion"].items():
        total = sum(counts.values())
        for predicted, count in counts.items():
            if predicted != truth:
                found.append(Pair(truth, predicted, count / total))
    return sorted(found, key=lambda pair: -pair.share)


def _counts(classes: int, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """How often each class (row) is predicted as each class (column), over all seeds: (C, C)."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    for seed in predicted:
        np.add.at(counts, (truth, seed), 1)
    return counts


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
