"""One task on one subject: probes, their robustness, and the chance that they are held against.

Legend: N examples, S seeds, C classes or tags.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zoo.benchmarks import robustness
from zoo.benchmarks.conditions import Condition, parse
from zoo.benchmarks.credits import credits
from zoo.benchmarks.features import Features
from zoo.benchmarks.metrics import METRICS
from zoo.benchmarks.probe import ProbeConfig, ProbeResult, probe
from zoo.benchmarks.results import Record, Rows
from zoo.benchmarks.significance import REPLICATES_ANEW, Interval, seeds_interval, statistic_interval
from zoo.benchmarks.suite import Task
from zoo.benchmarks.targets import Examples, Targets
from zoo.benchmarks.weighting import probe_weighted
from zoo.errors import ConfigError


def run_probe(record: Record, task: Task, targets: Targets, features: Features, device: str = "cpu") -> Rows:
    """Fill the record; returns what was predicted of each test example.

    Raises ConfigError where nothing can be learned.
    """
    found = _fit(task, targets, features, device)
    record.layer, record.penalty = found.layer, found.penalty
    record.curves = {"weights": found.weights} if found.weights else {"dev": found.dev, "test": found.test}
    record.seeds = found.scores.tolist()
    return _fill(record, task, targets, found.outputs)


def run_robustness(
    record: Record,
    task: Task,
    base: Task,
    targets: Targets,
    features: Features,
    extract: Callable[[list[int], Condition], Features],
    device: str = "cpu",
) -> Rows:
    """Fill the record of a robustness task on a probe; returns what each test example earned.

    extract: features of the clips at these places, corrupted. Raises ConfigError where nothing can be learned or asked.
    """
    found = _fit(base, targets, features, device)
    test = targets.splits["test"]
    clips = np.unique(test.places)
    corrupted = {name: extract(clips.tolist(), parse(name)) for name in task.conditions}
    failed = {int(clips[place]) for each in corrupted.values() for place in each.failed}
    usable = np.array([place not in failed for place in test.places.tolist()], dtype=bool)
    if not usable.any():
        raise ConfigError("no test clip can be used once it is changed")
    if failed:
        record.notes.append(f"{len(failed)} test clips could not be used once they were changed")
    kept = test.only(usable)
    renumbered = kept.at(np.searchsorted(clips, kept.places))
    outputs = {name: found.predict(renumbered.split(base, each)) for name, each in corrupted.items()}
    clean, original = found.outputs[:, usable], Record(base.name, base.kind, "", "", "", "", "", metric=base.metric)
    rows = {name: _rows(base, targets, kept, each) for name, each in outputs.items()}
    before = _rows(base, targets, kept, clean)
    if credits(base.kind, base.metric, before):
        return robustness.of_rows(record, original, before, rows)
    robustness.of_outputs(record, original, kept, clean, outputs)
    return []


def run_chance(record: Record, task: Task, targets: Targets) -> Rows:
    """The best answer that looks at no audio: the commonest class, each tag's frequency, the mean value of train."""
    train, count = targets.splits["train"].targets, len(targets.splits["test"].targets)
    if _kind(task) == "class":
        outputs = np.full((1, count), np.bincount(train).argmax())
    else:
        outputs = np.broadcast_to(train.mean(0), (1, count, train.shape[1]))
    record.seeds = [METRICS[task.metric](outputs[0], targets.splits["test"].targets)]
    return _fill(record, task, targets, outputs)


def _fill(record: Record, task: Task, targets: Targets, outputs: np.ndarray) -> Rows:
    test = targets.splits["test"]
    interval = _interval(task, outputs, test)
    record.metric, record.score = task.metric, float(np.mean(record.seeds))
    record.low, record.high = interval.low, interval.high
    record.test_items, record.groups = len(test.targets), len(np.unique(test.groups))
    record.notes = list(targets.notes)
    record.details = {"classes": targets.names[:200], "train_items": len(targets.splits["train"].targets)}
    return _rows(task, targets, test, outputs)


def _fit(task: Task, targets: Targets, features: Features, device: str) -> ProbeResult:
    config = ProbeConfig(_kind(task), task.metric, seeds=task.seeds, balanced=task.balanced, device=device)
    train, dev, test = (targets.splits[name].split(task, features) for name in ("train", "dev", "test"))
    run = probe_weighted if task.layers == "weighted" else probe
    return run(train, dev, test, range(features.layers), config)


def _rows(task: Task, targets: Targets, test: Examples, outputs: np.ndarray) -> Rows:
    """What was said of each test example: outputs (S, N) of classes, or (S, N, C)."""
    if _kind(task) == "class":
        said = [[targets.names[c] for c in column] for column in outputs.T]
        truth: list[Any] = [targets.names[c] for c in test.targets]
    else:
        said = np.round(outputs.mean(0), 5).tolist()
        truth = test.targets.tolist()
    groups = test.groups.tolist()
    return [
        {"item": key, "group": group, "truth": right, "predicted": guess}
        for key, group, right, guess in zip(test.keys, groups, truth, said, strict=True)
    ]


def _interval(task: Task, outputs: np.ndarray, test: Examples) -> Interval:
    if task.metric == "accuracy":
        return seeds_interval(outputs == test.targets, test.groups)
    metric = METRICS[task.metric]
    generator = np.random.default_rng(0)

    def score(items: np.ndarray) -> float:
        seeds = generator.integers(len(outputs), size=len(outputs))
        drawn = {seed: metric(outputs[seed][items], test.targets[items]) for seed in np.unique(seeds)}
        return float(np.mean([drawn[seed] for seed in seeds]))

    return statistic_interval(score, test.groups, replicates=REPLICATES_ANEW, share=task.metric != "r2")


def _kind(task: Task) -> str:
    return "class" if task.kind == "phones" else task.kind
