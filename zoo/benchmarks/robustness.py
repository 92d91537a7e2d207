"""What happens to a score when the test clips suffer: the change under each condition, paired item by item.

A probe is trained on clean clips, as it was; only what it is tested on changes. The score of the task is the mean
change over all conditions: 0 is robust; whether less or more is worse follows from the task that is asked again.

Legend: N items, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from zoo.benchmarks import evaluated
from zoo.benchmarks.item_scores import item_scores
from zoo.benchmarks.metrics import METRICS
from zoo.benchmarks.results import Record, Rows
from zoo.benchmarks.significance import REPLICATES_ANEW, Interval, paired_bootstrap, statistic_interval
from zoo.benchmarks.targets import Examples


def of_rows(record: Record, base: Record, clean: Rows, changed: Mapping[str, Rows]) -> Rows:
    """Fill the record from what was said of clean clips and of changed ones; scores are ratios of sums over items."""
    before = item_scores(base.kind, base.metric, clean)
    after = {name: item_scores(base.kind, base.metric, rows) for name, rows in changed.items()}
    keys = [key for key in before if all(key in found for found in after.values())]
    groups = np.array([before[key].group for key in keys])
    weight = np.array([before[key].weight for key in keys])
    start = np.array([before[key].credit for key in keys])
    ends = {name: np.array([found[key].credit for key in keys]) for name, found in after.items()}
    record.details["clean"] = float(start.sum() / weight.sum())
    for name, end in ends.items():
        found = paired_bootstrap(end, start, weight, groups)
        _condition(record, name, float(end.sum() / weight.sum()), found.difference, found.interval)
    middle = np.mean(list(ends.values()), axis=0)
    whole = paired_bootstrap(middle, start, weight, groups)
    _total(record, base, whole.difference, whole.interval, groups)
    return [
        {"item": key, "group": before[key].group, "clean": float(a), "credit": float(b - a), "weight": float(w)}
        | {name: float(end[place]) for name, end in ends.items()}
        for place, (key, a, b, w) in enumerate(zip(keys, start, middle, weight, strict=True))
    ]


def of_outputs(
    record: Record, base: Record, test: Examples, clean: np.ndarray, changed: Mapping[str, np.ndarray]
) -> None:
    """Fill the record from outputs (S, N, ...) of a probe on clean and on changed clips, under any metric."""
    metric, every = METRICS[base.metric], np.arange(len(test.targets))

    def score(outputs: np.ndarray, items: np.ndarray) -> float:
        return float(np.mean([metric(seed[items], test.targets[items]) for seed in outputs]))

    def change(to: Sequence[np.ndarray], items: np.ndarray) -> float:
        return float(np.mean([score(outputs, items) for outputs in to])) - score(clean, items)

    def interval(to: Sequence[np.ndarray]) -> Interval:
        return statistic_interval(lambda items: change(to, items), test.groups, replicates=REPLICATES_ANEW)

    record.details["clean"] = score(clean, every)
    for name, outputs in changed.items():
        _condition(record, name, score(outputs, every), change([outputs], every), interval([outputs]))
    everything = list(changed.values())
    _total(record, base, change(everything, every), interval(everything), test.groups)


def _condition(record: Record, name: str, score: float, change: float, interval: Interval) -> None:
    found = {"score": score, "change": change, "low": interval.low, "high": interval.high}
    record.details.setdefault("conditions", {})[name] = found


def _total(record: Record, base: Record, change: float, interval: Interval, groups: np.ndarray) -> None:
    record.lower_is_better = base.lower_is_better
    evaluated.score(record, f"change of {base.metric}", change, interval, groups.tolist())
