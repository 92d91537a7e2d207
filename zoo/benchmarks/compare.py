"""Compare models: which model is better on which task, and which differences are not significant.

Two models are compared on the same test items, by a bootstrap of the paired differences over speakers or pieces.

Legend: M models, N items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from zoo.benchmarks import table
from zoo.benchmarks.item_scores import ItemScore, item_scores, pseudo_values, read_rows, seed_predictions
from zoo.benchmarks.results import RESULTS, Record, read_records
from zoo.benchmarks.significance import LEVEL, Comparison, holm, mcnemar, paired_bootstrap, ranks
from zoo.errors import ConfigError, ZooError

_FolderRecords = Sequence[tuple[Path, Record]]
"""Records, each with the folder of its predictions."""


@dataclass(frozen=True)
class ComparedModel:
    """A record with its item scores. The score is the sum of their values over the sum of their weights.

    correct: for accuracies, item -> is the prediction of the first seed correct? For McNemar's test.
    """

    record: Record
    items: dict[str, ItemScore]
    correct: dict[str, bool]


@dataclass(frozen=True)
class TaskComparison:
    """The comparison on one task. models: the best first. With a single one there is no test, and notes say why.

    ranks (M,): see significance.ranks. None if no test fits the metric.
    p_to_best (M,): of the difference to the best model, with Holm's correction over these differences; 1 for the best.
    pairs: indices of two models, the difference of the first to the second, and McNemar's p for accuracies.
    """

    task: str
    models: list[ComparedModel]
    ranks: list[int] | None
    p_to_best: list[float]
    pairs: list[tuple[int, int, Comparison, float | None]]
    notes: list[str]

    def best(self) -> list[str]:
        """Names of the models that are not significantly worse than the best. Empty if there are no ranks."""
        names = [model.record.model for model in self.models]
        return [name for name, p in zip(names, self.p_to_best, strict=False) if p > 1 - LEVEL]

    def ranks_by_model(self) -> dict[str, int]:
        """Ranks by model name. Empty if there are no ranks."""
        return {model.record.model: rank for model, rank in zip(self.models, self.ranks or [], strict=False)}


def compare(folders: Sequence[str | Path]) -> list[TaskComparison]:
    """Compare all models of these results, on every task with two or more of them, in the order of the first folder.

    Only records with the same data and task settings are compared: the first data and settings that two models share.
    The notes name the other records.
    Raises ZooError if a folder holds no results, ConfigError if nothing can be compared or if predictions name an item
    twice.
    """
    records: list[tuple[Path, Record]] = []
    for folder in map(Path, folders):
        if not (folder / RESULTS).is_file():
            raise ZooError(f"{folder}: holds no {RESULTS}; make one with zoo bench run")
        records += [(folder, record) for record in table.latest(read_records(folder / RESULTS))]
    comparisons = compare_records(_with_distinct_names(records))
    if not any(len(comparison.models) > 1 for comparison in comparisons):
        raise ConfigError("no task has results of two models on the same data")
    return comparisons


def compare_records(records: _FolderRecords) -> list[TaskComparison]:
    """Compare the models on all tasks that two or more of these records share."""
    usable = [(folder, record) for folder, record in records if record.status == "ok"]
    tasks = dict.fromkeys(record.task for _, record in usable)
    every = (
        _compare_task(task, [(folder, record) for folder, record in usable if record.task == task]) for task in tasks
    )
    return [comparison for comparison in every if len(comparison.models) > 1 or comparison.notes]


def _with_distinct_names(records: _FolderRecords) -> list[tuple[Path, Record]]:
    """Add the folder to the name of different models with the same name."""
    fingerprints: dict[str, set[str]] = {}
    for _, record in records:
        fingerprints.setdefault(record.model, set()).add(record.fingerprint)
    names = _short_names([folder for folder, _ in records])
    return [
        (folder, replace(record, model=f"{record.model} ({names[folder]})"))
        if len(fingerprints[record.model]) > 1
        else (folder, record)
        for folder, record in records
    ]


def _short_names(folders: Sequence[Path]) -> dict[Path, str]:
    """The last parts of each path: as few as make them distinct."""
    parts = {folder: folder.resolve().parts for folder in folders}
    count = 1
    while len({each[-count:] for each in parts.values()}) < len(set(parts.values())):
        count += 1
    return {folder: "/".join(each[-count:]) for folder, each in parts.items()}


def _compare_task(task: str, records: _FolderRecords) -> TaskComparison:
    same, others = _split_by_data(records)
    notes = _left_out(same, others)
    first = same[0][1]
    sign = 1 if first.lower_is_better else -1
    ordered = sorted(same, key=lambda each: sign * (each[1].score or 0.0))
    if len(ordered) == 1:  # nothing to test, so no predictions are read
        return TaskComparison(task, [ComparedModel(first, {}, {})], None, [], [], notes)
    models = [_read_model(folder, record) for folder, record in ordered]
    common = sorted(set.intersection(*(set(model.items) for model in models)))
    total = max(len(model.items) for model in models)
    if not common:
        notes.append(f"no paired test: {_why_no_test(ordered)}")
        return TaskComparison(task, models, None, [], [], notes)
    if len(common) < total:
        notes.append(f"tests use the {len(common)} of {total} items (or groups) that all models have")
    pairs = []
    p = np.ones((len(models), len(models)))
    for i, j in combinations(range(len(models)), 2):
        comparison, mcnemar_p = _compare_pair(models[i], models[j], common)
        pairs.append((i, j, comparison, mcnemar_p))
        p[i, j] = p[j, i] = comparison.p
    p_to_best = [1.0, *holm(p[0, 1:].tolist())]
    return TaskComparison(task, models, ranks(p), p_to_best, pairs, notes)


def _left_out(same: _FolderRecords, others: _FolderRecords) -> list[str]:
    """A note that names the records that are not compared. Empty without any."""
    if not others:
        return []
    present = {record.model for _, record in same}
    names = {f"{record.model} in {folder}" if record.model in present else record.model for folder, record in others}
    return [f"left out, evaluated on other data or settings: {', '.join(sorted(names))}"]


def _why_no_test(records: _FolderRecords) -> str:
    missing = []
    for folder, record in records:
        if record.predictions and not (folder / record.predictions).is_file():
            missing.append(record.model)
    if missing:
        return f"the predictions of {', '.join(missing)} are missing"
    return records[0][1].metric or "this metric"


def _split_by_data(records: _FolderRecords) -> tuple[_FolderRecords, _FolderRecords]:
    """Records of one task, one per model: those on the first data and settings that two models share, and the others.

    Of one model in two folders, the first folder counts, as in `pages.publish`.
    """
    by_data: dict[tuple[str, str], dict[tuple[str, str], tuple[Path, Record]]] = {}
    for folder, record in records:
        same_data = by_data.setdefault((record.data, record.task_key), {})
        same_data.setdefault((record.model, record.fingerprint), (folder, record))
    same = next((group for group in by_data.values() if len(group) > 1), next(iter(by_data.values())))
    others = [each for group in by_data.values() if group is not same for each in group.values()]
    return list(same.values()), others


def _compare_pair(a: ComparedModel, b: ComparedModel, common: Sequence[str]) -> tuple[Comparison, float | None]:
    value_a, value_b = (np.array([model.items[key].value for key in common]) for model in (a, b))
    weight = np.array([a.items[key].weight for key in common])
    groups = np.array([a.items[key].group for key in common])
    comparison = paired_bootstrap(value_a, value_b, weight, groups)
    if not (a.correct and b.correct):
        return comparison, None
    return comparison, mcnemar(*(np.array([model.correct[key] for key in common]) for model in (a, b)))


def _read_model(folder: Path, record: Record) -> ComparedModel:
    rows = read_rows(folder, record) if (folder / record.predictions).is_file() else []
    correct = {}
    if record.metric == "accuracy" and record.kind != "robustness":
        correct = {row["item"]: seed_predictions(row["predicted"])[0] == row["truth"] for row in rows}
    try:
        items = item_scores(record.kind, record.metric, rows)
        if not items:
            items = pseudo_values(record.metric, rows, record.details.get("classes", ()))
    except ConfigError as error:
        raise ConfigError(f"{folder / record.predictions}: {error}") from None
    return ComparedModel(record, items, correct)
