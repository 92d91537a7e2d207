"""How much a score changes if the test clips are corrupted, paired item by item.

Probes stay as they were trained on clean clips; only the test clips change. The score of the task is the mean change
over all conditions. 0 is robust. The base task decides if a higher or a lower score is better.

Legend: N items, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo.benchmarks.evaluated import task_result
from zoo.benchmarks.item_scores import item_scores
from zoo.benchmarks.metrics import METRICS
from zoo.benchmarks.results import Record, Rows, TaskResult
from zoo.benchmarks.significance import REPLICATES_ANEW, Interval, paired_bootstrap, statistic_interval
from zoo.benchmarks.targets import Examples


def from_rows(base: Record, clean: Rows, changed: Mapping[str, Rows], notes: Sequence[str] = ()) -> TaskResult:
    """The change from the predictions on clean to those on corrupted clips, for scores that are ratios of sums.

    base: a record with kind and metric of the base task.
    """
    before = item_scores(base.kind, base.metric, clean)
    after = {name: item_scores(base.kind, base.metric, rows) for name, rows in changed.items()}
    keys = [key for key in before if all(key in scores for scores in after.values())]  # items with all scores
    groups = np.array([before[key].group for key in keys])
    weight = np.array([before[key].weight for key in keys])
    start = np.array([before[key].value for key in keys])
    conditions = {}
    ends = {}
    for name, scores in after.items():
        end = np.array([scores[key].value for key in keys])
        ends[name] = end
        change = paired_bootstrap(end, start, weight, groups)
        conditions[name] = _condition(float(end.sum() / weight.sum()), change.difference, change.interval)
    middle = np.mean(list(ends.values()), axis=0)
    whole = paired_bootstrap(middle, start, weight, groups)
    rows = []
    for index, key in enumerate(keys):
        row: dict[str, Any] = {"item": key, "group": before[key].group}
        row["clean"] = float(start[index])
        row["value"] = float(middle[index] - start[index])
        row["weight"] = float(weight[index])
        for name, end in ends.items():
            row[name] = float(end[index])
        rows.append(row)
    details = {"clean": float(start.sum() / weight.sum()), "conditions": conditions}
    fields = {"lower_is_better": base.lower_is_better, "details": details, "notes": list(notes), "rows": rows}
    return task_result(f"change of {base.metric}", whole.difference, whole.interval, groups.tolist(), **fields)


def from_outputs(
    base: Record, test: Examples, clean: np.ndarray, changed: Mapping[str, np.ndarray], notes: Sequence[str] = ()
) -> TaskResult:
    """The change from outputs (S, N, ...) of a probe on clean clips to those on corrupted ones, for any metric."""
    metric = METRICS[base.metric]
    all_items = np.arange(len(test.targets))

    def score(outputs: np.ndarray, items: np.ndarray) -> float:
        return float(np.mean([metric(seed[items], test.targets[items]) for seed in outputs]))

    def change(corrupted: Sequence[np.ndarray], items: np.ndarray) -> float:
        return float(np.mean([score(outputs, items) for outputs in corrupted])) - score(clean, items)

    def interval(corrupted: Sequence[np.ndarray]) -> Interval:
        return statistic_interval(lambda items: change(corrupted, items), test.groups, replicates=REPLICATES_ANEW)

    conditions = {}
    for name, outputs in changed.items():
        conditions[name] = _condition(score(outputs, all_items), change([outputs], all_items), interval([outputs]))
    details = {"clean": score(clean, all_items), "conditions": conditions}
    all_outputs = list(changed.values())
    whole = change(all_outputs, all_items)
    fields = {"lower_is_better": base.lower_is_better, "details": details, "notes": list(notes)}
    return task_result(f"change of {base.metric}", whole, interval(all_outputs), test.groups.tolist(), **fields)


def _condition(score: float, change: float, interval: Interval) -> dict[str, float]:
    return {"score": score, "change": change, "low": interval.low, "high": interval.high}
