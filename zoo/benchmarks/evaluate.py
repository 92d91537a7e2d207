"""One task on one subject: probes, their robustness, and the chance that they are held against.

A data set is asked in one piece, or fold by fold; the answers of all folds are then scored as one.

Legend: N examples, S seeds, C classes or tags.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zoo.benchmarks import robustness
from zoo.benchmarks.conditions import Condition, parse
from zoo.benchmarks.features import Features
from zoo.benchmarks.item_scores import item_scores
from zoo.benchmarks.metrics import METRICS
from zoo.benchmarks.probe import ProbeConfig, ProbeResult, probe
from zoo.benchmarks.results import Record, Rows
from zoo.benchmarks.significance import REPLICATES_ANEW, Interval, seeds_interval, statistic_interval
from zoo.benchmarks.suite import SuiteTask
from zoo.benchmarks.targets import Examples, ProbeTargets
from zoo.benchmarks.weighting import probe_weighted
from zoo.errors import ConfigError


def run_probe(
    record: Record, task: SuiteTask, folds: Sequence[ProbeTargets], features: Features, device: str = "cpu"
) -> Rows:
    """Fill the record; returns what was predicted of each test example.

    Raises ConfigError where nothing can be learned.
    """
    fits = [_fit(task, targets, features, device) for targets in folds]
    _choices(record, folds, fits)
    return _fill(record, task, folds, Answers.of(folds, _tests(folds), [fit.outputs for fit in fits]))


def run_robustness(
    record: Record,
    task: SuiteTask,
    base: SuiteTask,
    folds: Sequence[ProbeTargets],
    features: Features,
    extract: Callable[[list[int], Condition], Features],
    device: str = "cpu",
) -> Rows:
    """Fill the record of a robustness task on a probe; returns what each test example earned.

    extract: features of the clips at these places, corrupted. Raises ConfigError where nothing can be learned or asked.
    """
    fits = [_fit(base, targets, features, device) for targets in folds]
    tests = _tests(folds)
    clips = np.unique(np.concatenate([test.places for test in tests]))
    corrupted = {name: extract(clips.tolist(), parse(name)) for name in task.conditions}
    failed = {int(clips[place]) for each in corrupted.values() for place in each.failed}
    usable = [np.array([place not in failed for place in test.places.tolist()], dtype=bool) for test in tests]
    if not any(each.any() for each in usable):
        raise ConfigError("no test clip can be used once it is changed")
    if failed:
        record.notes.append(f"{len(failed)} test clips could not be used once they were changed")
    kept = [test.only(each) for test, each in zip(tests, usable, strict=True)]
    clean = Answers.of(folds, kept, [fit.outputs[:, each] for fit, each in zip(fits, usable, strict=True)])
    renumbered = [test.at(np.searchsorted(clips, test.places)) for test in kept]
    changed = {
        name: Answers.of(
            folds, kept, [fit.predict(test.split(base, each)) for fit, test in zip(fits, renumbered, strict=True)]
        )
        for name, each in corrupted.items()
    }
    original = Record(base.name, base.kind, "", "", "", "", "", metric=base.metric)
    before = _rows(base, clean)
    if item_scores(base.kind, base.metric, before):
        rows = {name: _rows(base, answers) for name, answers in changed.items()}
        return robustness.of_rows(record, original, before, rows)
    outputs = {name: answers.outputs for name, answers in changed.items()}
    robustness.of_outputs(record, original, clean.test, clean.outputs, outputs)
    return []


def run_chance(record: Record, task: SuiteTask, folds: Sequence[ProbeTargets]) -> Rows:
    """The best answer that looks at no audio: the commonest class, each tag's frequency, the mean value of train."""
    answers = Answers.of(folds, _tests(folds), [_blind(task, targets) for targets in folds])
    return _fill(record, task, folds, answers)


@dataclass(frozen=True)
class Answers:
    """What probes said of the test examples, those of all folds as one set. outputs: (S, N) of classes, or (S, N, C).

    names: of the classes, to which both targets and outputs are numbers.
    """

    test: Examples
    names: list[str]
    outputs: np.ndarray

    @classmethod
    def of(cls, folds: Sequence[ProbeTargets], tests: Sequence[Examples], outputs: Sequence[np.ndarray]) -> Answers:
        """tests, outputs: of each fold the examples that were asked about, and what was said of them."""
        names = sorted({name for targets in folds for name in targets.names})
        asked, said = [], []
        for targets, test, each in zip(folds, tests, outputs, strict=True):
            classes = each.ndim == 2
            number = np.searchsorted(names, targets.names)  # a fold may lack a class, and count without it
            asked.append(replace(test, targets=number[test.targets]) if classes else test)
            said.append(number[each] if classes else each)
        return cls(Examples.joined(asked), names, np.concatenate(said, axis=1))


def _tests(folds: Sequence[ProbeTargets]) -> list[Examples]:
    return [targets.splits["test"] for targets in folds]


def _choices(record: Record, folds: Sequence[ProbeTargets], fits: Sequence[ProbeResult]) -> None:
    """What was chosen on dev: of several folds the commonest, their mean curves, and what each of them chose."""
    names = ("weights",) if fits[0].weights else ("dev", "test")
    record.curves = {name: np.mean([getattr(fit, name) for fit in fits], axis=0).tolist() for name in names}
    record.layer, record.penalty = Counter((fit.layer, fit.penalty) for fit in fits).most_common(1)[0][0]
    if len(folds) > 1:
        record.details["folds"] = {
            targets.fold: {"layer": fit.layer, "penalty": fit.penalty, "score": float(np.mean(fit.scores))}
            for targets, fit in zip(folds, fits, strict=True)
        }


def _fill(record: Record, task: SuiteTask, folds: Sequence[ProbeTargets], answers: Answers) -> Rows:
    test = answers.test
    interval = _interval(task, answers.outputs, test)
    record.seeds = [METRICS[task.metric](seed, test.targets) for seed in answers.outputs]
    record.metric, record.score = task.metric, float(np.mean(record.seeds))
    record.low, record.high = interval.low, interval.high
    record.test_items, record.groups = len(test.targets), len(np.unique(test.groups))
    record.notes = list(dict.fromkeys(note for targets in folds for note in targets.notes))
    learned = [len(targets.splits["train"].targets) for targets in folds]
    record.details |= {"classes": answers.names[:200], "train_items": round(np.mean(learned))}
    return _rows(task, answers)


def _blind(task: SuiteTask, targets: ProbeTargets) -> np.ndarray:
    """(1, N) or (1, N, C): the answers of chance."""
    train, count = targets.splits["train"].targets, len(targets.splits["test"].targets)
    if _kind(task) == "class":
        return np.full((1, count), np.bincount(train).argmax())
    return np.broadcast_to(train.mean(0), (1, count, train.shape[1]))


def _fit(task: SuiteTask, targets: ProbeTargets, features: Features, device: str) -> ProbeResult:
    config = ProbeConfig(_kind(task), task.metric, seeds=task.seeds, balanced=task.balanced, device=device)
    train, dev, test = (targets.splits[name].split(task, features) for name in ("train", "dev", "test"))
    run = probe_weighted if task.layers == "weighted" else probe
    return run(train, dev, test, range(features.layers), config)


def _rows(task: SuiteTask, answers: Answers) -> Rows:
    """What was said of each test example."""
    test = answers.test
    if _kind(task) == "class":
        said = [[answers.names[c] for c in column] for column in answers.outputs.T]
        truth: list[Any] = [answers.names[c] for c in test.targets]
    else:
        said = np.round(answers.outputs.mean(0), 5).tolist()
        truth = test.targets.tolist()
    groups = test.groups.tolist()
    return [
        {"item": key, "group": group, "truth": right, "predicted": guess}
        for key, group, right, guess in zip(test.keys, groups, truth, said, strict=True)
    ]


def _interval(task: SuiteTask, outputs: np.ndarray, test: Examples) -> Interval:
    if task.metric == "accuracy":
        return seeds_interval(outputs == test.targets, test.groups)
    metric = METRICS[task.metric]
    generator = np.random.default_rng(0)

    def score(items: np.ndarray) -> float:
        seeds = generator.integers(len(outputs), size=len(outputs))
        drawn = {seed: metric(outputs[seed][items], test.targets[items]) for seed in np.unique(seeds)}
        return float(np.mean([drawn[seed] for seed in seeds]))

    return statistic_interval(score, test.groups, replicates=REPLICATES_ANEW, share=task.metric != "r2")


def _kind(task: SuiteTask) -> str:
    return "class" if task.kind == "phones" else task.kind
