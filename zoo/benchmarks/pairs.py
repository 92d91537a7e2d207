"""Pair classification: are two clips of one class? Pairs of test clips are compared by the cosine of their features.

    EER, minDCF   see zoo.benchmarks.verification
    AP            average precision of the cosine
    max AP        the highest average precision of cosine, dot product, Euclidean and Manhattan distance, as in MTEB

Legend: N clips, D features, P pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score

from zoo.benchmarks.verification import equal_error_rate, min_detection_cost
from zoo.errors import ConfigError


@dataclass(frozen=True)
class Pairs:
    """first, second (P,): rows of the clips; same (P,): is it one class?"""

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray


def all_pairs(classes: np.ndarray) -> Pairs:
    """Every pair of N clips, of one class or of two."""
    first, second = np.triu_indices(len(classes), k=1)
    return Pairs(first, second, classes[first] == classes[second])


def given_pairs(names: np.ndarray, labels: np.ndarray) -> Pairs:
    """The two clips of each name are a pair; their label, the same for both, is 1 for one class and 0 for two.

    names, labels (N,): text. Raises ConfigError, naming the pair, if it has not two clips with one such label.
    """
    first, second, same = [], [], []
    for name in dict.fromkeys(names.tolist()):
        rows = np.flatnonzero(names == name)
        answers = set(labels[rows].tolist())
        if len(rows) != 2 or len(answers) != 1 or not answers <= {"0", "1"}:
            raise ConfigError(
                f"pair {name}: {len(rows)} clips with label {sorted(answers)}; two with one label are needed"
            )
        first.append(rows[0])
        second.append(rows[1])
        same.append(answers == {"1"})
    return Pairs(np.array(first), np.array(second), np.array(same))


def similarities(metric: str, features: np.ndarray, pairs: Pairs) -> list[np.ndarray]:
    """The similarities (P,) that a metric needs, of pairs of clips with these features (N, D)."""
    measures = (cosine, dot, euclidean, manhattan) if metric == "max AP" else (cosine,)
    return [measure(features, pairs) for measure in measures]


def score(metric: str, values: Sequence[np.ndarray], same: np.ndarray, target: float) -> float:
    """The metric of pairs, from their similarities (P,). NaN unless there are pairs of one class and of two.

    target: for minDCF, the share of pairs of one class for which the cost is computed.
    """
    if not same.any() or same.all():
        return float("nan")
    if metric == "EER":
        return equal_error_rate(values[0], same)
    if metric == "minDCF":
        return min_detection_cost(values[0], same, target)
    return max(float(average_precision_score(same, each)) for each in values)


def cosine(features: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Cosines of the pairs (P,)."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return dot(features / np.where(length > 0, length, 1), pairs)


def dot(features: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Dot products of the pairs (P,)."""
    return _by_blocks(features, pairs, lambda a, b: np.einsum("pd,pd->p", a, b))


def euclidean(features: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Negative Euclidean distances of the pairs (P,)."""
    return _by_blocks(features, pairs, lambda a, b: -np.sqrt(((a - b) ** 2).sum(1)))


def manhattan(features: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Negative Manhattan distances of the pairs (P,)."""
    return _by_blocks(features, pairs, lambda a, b: -np.abs(a - b).sum(1))


def _by_blocks(
    features: np.ndarray, pairs: Pairs, measure: Callable[[np.ndarray, np.ndarray], np.ndarray], block: int = 65_536
) -> np.ndarray:
    """A measure of the features of both clips, a block of pairs at a time: all pairs may be millions."""
    values = []
    for start in range(0, len(pairs.same), block):
        part = slice(start, start + block)
        values.append(measure(features[pairs.first[part]], features[pairs.second[part]]))
    return np.concatenate(values)
