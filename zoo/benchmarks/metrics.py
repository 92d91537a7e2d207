"""Metrics of probes. Higher is always better. `register_metric` adds one.

They equal those of scikit-learn, which a test checks. Those cost 4 to 400 times as much a call, because each one checks
its arguments, and intervals call a metric hundreds of times.

Legend: N items, C classes, tags or values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import rankdata

from zoo.benchmarks.kinds import CLASSIFIERS, PROBES
from zoo.errors import ConfigError

Metric = Callable[[np.ndarray, np.ndarray], float]


def accuracy(predicted: np.ndarray, truth: np.ndarray) -> float:
    """predicted, truth (N,): class indices."""
    return float((predicted == truth).mean())


def balanced_accuracy(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean recall over the classes in truth. predicted, truth (N,): class indices."""
    return float(np.mean([(predicted[truth == c] == c).mean() for c in np.unique(truth)]))


def r2(predicted: np.ndarray, truth: np.ndarray) -> float:
    """1 - residual / total sum of squares, mean over columns. predicted, truth (N, C). NaN if the truth is constant."""
    total = ((truth - truth.mean(0)) ** 2).sum(0)
    residual = ((truth - predicted) ** 2).sum(0)
    return float(np.mean(1 - residual / np.where(total > 0, total, np.nan)))


def mean_average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Mean average precision over tags. scores, truth (N, C). Tags that all items or no items have do not count."""
    return _over_tags(average_precision, scores, truth)


def roc_auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Mean area under the ROC curve over tags. scores, truth (N, C). Tags of all items or no items do not count."""
    return _over_tags(_area, scores, truth)


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Sum over thresholds of precision times gain in recall. Equal scores are one threshold. scores, truth (N,)."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    gain = np.diff(hits[ends], prepend=0) / hits[-1]
    return float((gain * hits[ends] / (ends + 1)).sum())


def _area(scores: np.ndarray, truth: np.ndarray) -> float:
    """Probability that an item with the tag scores above one without it (Mann & Whitney). A tie counts half."""
    positives = int(truth.sum())
    above = rankdata(scores)[truth > 0].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(truth) - positives)))


def _over_tags(metric: Metric, scores: np.ndarray, truth: np.ndarray) -> float:
    varying = [c for c in range(truth.shape[1]) if 0 < truth[:, c].sum() < len(truth)]
    return float(np.mean([metric(scores[:, c], truth[:, c]) for c in varying])) if varying else float("nan")


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "r2": r2,
    "map": mean_average_precision,
    "roc_auc": roc_auc,
}
SHARES = {"accuracy", "balanced_accuracy", "map", "roc_auc"}
"""Metrics from 0 to 1. Their mean over tasks is a rough measure of quality."""
OF_KIND: dict[str, list[str]] = {
    **{kind: ["accuracy", "balanced_accuracy"] for kind in ("class", *CLASSIFIERS)},
    "phones": ["accuracy", "balanced_accuracy"],
    "tags": ["roc_auc", "map"],
    "value": ["r2"],
    "pairs": ["EER", "minDCF", "AP", "max AP"],
}
"""Metrics of each kind of task with a choice, the default first."""
_BUILT_IN = frozenset(METRICS)


def register_metric(name: str, function: Metric, *, kinds: Sequence[str] = ("class",), share: bool = False) -> None:
    """Add a metric of probes; `metric: NAME` in a suite then uses it, with an interval and paired tests as any other.

    function: from (predicted, truth) to a number; higher is better. Both are class indices (N,) for the kinds class and
    phones, scores and zeros or ones (N, C) for tags, numbers (N, C) for value. It is called on resampled test items,
    where a class may be missing. kinds: of tasks that may use it. share: it goes from 0 to 1, so that a perfect score
    gets a binomial bound.

    Results are found again by the name of the metric. Use another name when the function changes.
    Raises ConfigError for a name of this package, and for a kind that is no probe.
    """
    if not name or name in _BUILT_IN:
        raise ConfigError(f"metric {name!r}: this name is taken or empty; choose another one")
    for kind in kinds:
        if kind not in PROBES:
            raise ConfigError(f"metric {name!r}: kind {kind!r} has no metrics to choose; use {', '.join(PROBES)}")

    def checked(predicted: np.ndarray, truth: np.ndarray) -> float:
        value = function(predicted, truth)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ConfigError(f"metric {name!r} gave {value!r}, but a number is needed") from None

    METRICS[name] = checked
    (SHARES.add if share else SHARES.discard)(name)
    for kind, names in OF_KIND.items():
        if name in names:
            names.remove(name)
        if kind in kinds:
            names.append(name)
