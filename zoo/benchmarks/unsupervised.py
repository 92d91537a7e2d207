"""Tasks that compare the features of test clips with each other: clustering, and pairs of clips.

Layer and pooling are those of the task, or the best on dev.

Legend: N clips, D features, G blocks of groups (speakers, pieces).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.benchmarks import candidates, clustering, pairs
from zoo.benchmarks.evaluated import task_result
from zoo.benchmarks.features import Features
from zoo.benchmarks.items import EvalItem, EvalItems, value_of
from zoo.benchmarks.options import with_defaults
from zoo.benchmarks.results import TaskResult
from zoo.benchmarks.significance import blocks, jackknife
from zoo.benchmarks.suite import SuiteTask
from zoo.benchmarks.targets import notes_on_failed
from zoo.errors import ConfigError

LOWER_IS_BETTER = ("EER", "minDCF")
TRIAL_RUNS = 3  # of clustering, to choose a layer


@dataclass(frozen=True)
class Clips:
    """Clips of one split that have a label. rows (N,): in the source. labels (N,): text."""

    items: list[EvalItem]
    rows: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, task: SuiteTask, source: EvalItems, failed: dict[int, str], split: str) -> Clips:
        """The clips of a split that the task selects, without those that failed."""
        rows = [
            row
            for row in source.select(task)
            if row not in failed
            and source.items[row].entry.split == split
            and value_of(source.items[row].entry, task.target) is not None
        ]
        items = [source.items[row] for row in rows]
        return cls(items, np.array(rows, dtype=int), np.array([str(value_of(i.entry, task.target)) for i in items]))


def run(task: SuiteTask, source: EvalItems, features: Features) -> TaskResult:
    """The score, with a row for each block of groups.

    Raises ConfigError if test, or dev where something is chosen on it, has too few clips with labels.
    """
    notes = [*source.notes, *notes_on_failed(source, source.select(task), features.failed)]
    options = with_defaults(task.kind, task.arguments())
    test = Clips.of(task, source, features.failed, "test")
    measure = _measure(task, test, options, "test")
    possible = candidates.of(task, features.layers)
    best = possible[0]
    curves = {}
    if len(possible) > 1:
        dev = Clips.of(task, source, features.failed, "dev")
        best, curves["dev"] = _best_on_dev(task, features, dev, possible, options)
    layer, pooling = candidates.layer_and_pooling(task, features.layers, best)
    block, names = blocks([item.group for item in test.items])
    values = candidates.pooled(task, features, best, test.rows).numpy()
    score, without = measure.jackknifed(values, block)
    interval, rows = jackknife(score, without, names)
    groups = [item.group for item in test.items]
    result = task_result(measure.metric, score, interval, groups, layer=layer, curves=curves, notes=notes, rows=rows)
    result.lower_is_better = measure.metric in LOWER_IS_BETTER
    result.details = measure.details | {"pooling": pooling}
    return result


def _best_on_dev(
    task: SuiteTask, features: Features, dev: Clips, possible: Sequence[int], options: dict[str, Any]
) -> tuple[int, list[float]]:
    """The candidate with the best score on dev, and the scores of its pooling by layer."""
    if task.kind == "clustering":
        options = options | {"runs": min(options["runs"], TRIAL_RUNS)}
    measure = _measure(task, dev, options, "dev")
    scores = [measure.score(candidates.pooled(task, features, each, dev.rows).numpy()) for each in possible]
    sign = -1 if measure.metric in LOWER_IS_BETTER else 1
    chosen = int(np.argmax(sign * np.array(scores)))
    half = len(possible) // 2
    both = task.pooling == "best"
    return possible[chosen], scores[chosen // half * half :][:half] if both else scores


class _Clusters:
    """V-measure of k-means clusters."""

    metric = "V-measure"

    def __init__(self, clips: Clips, options: dict[str, Any]) -> None:
        names, self.classes = np.unique(clips.labels, return_inverse=True)
        self.options = options
        self.details: dict[str, Any] = {"classes": len(names)}
        if len(names) < 2:
            raise ConfigError("clusters need clips of two classes or more")

    def score(self, features: np.ndarray) -> float:
        one_group = np.zeros(len(features), dtype=int)
        return clustering.mean_v_measure(clustering.tables(features, self.classes, one_group, **self.options))

    def jackknifed(self, features: np.ndarray, block: np.ndarray) -> tuple[float, np.ndarray]:
        counts = clustering.tables(features, self.classes, block, **self.options)  # (R, G, C, K)
        without = counts.sum(1, keepdims=True) - counts
        alone = [clustering.mean_v_measure(without[:, g : g + 1]) for g in range(counts.shape[1])]
        return clustering.mean_v_measure(counts), np.array(alone)


class _Pairs:
    """A metric of pairs of clips: all of them, or those that the column `pair` names."""

    def __init__(self, clips: Clips, options: dict[str, Any], metric: str) -> None:
        self.metric, self.target = metric, options["target"]
        if column := options["pair"]:
            names = np.array([str(value_of(item.entry, column)) for item in clips.items])
            self.pairs = pairs.given_pairs(names, clips.labels)
        else:
            self.pairs = pairs.all_pairs(clips.labels)
        same = self.pairs.same
        self.details: dict[str, Any] = {"pairs of one class": int(same.sum()), "pairs of two": int((~same).sum())}
        if not same.any() or same.all():
            raise ConfigError("pairs of one class and pairs of two are needed")

    def score(self, features: np.ndarray) -> float:
        return pairs.score(self.metric, self._similarities(features), self.pairs.same, self.target)

    def jackknifed(self, features: np.ndarray, block: np.ndarray) -> tuple[float, np.ndarray]:
        values = self._similarities(features)
        first, second = block[self.pairs.first], block[self.pairs.second]
        without = []
        for number in range(int(block.max()) + 1):
            kept = (first != number) & (second != number)
            of_kept = [each[kept] for each in values]
            without.append(pairs.score(self.metric, of_kept, self.pairs.same[kept], self.target))
        whole = pairs.score(self.metric, values, self.pairs.same, self.target)
        others = ("EER", "minDCF", "AP")
        self.details |= {name: pairs.score(name, values[:1], self.pairs.same, self.target) for name in others}
        return whole, np.array(without)

    def _similarities(self, features: np.ndarray) -> list[np.ndarray]:
        return pairs.similarities(self.metric, features.astype(float), self.pairs)


def _measure(task: SuiteTask, clips: Clips, options: dict[str, Any], split: str) -> _Clusters | _Pairs:
    """Raises ConfigError, naming the split, if its clips do not allow the task."""
    if not clips.items:
        raise ConfigError(f"the {split} split has no labeled clips")
    try:
        if task.kind == "clustering":
            return _Clusters(clips, options)
        return _Pairs(clips, options, task.metric or "EER")
    except ConfigError as error:
        raise ConfigError(f"the {split} split: {error}") from None
