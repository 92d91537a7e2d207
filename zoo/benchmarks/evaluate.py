"""Evaluate one model on one task: probes, their robustness, and the chance baseline.

A data set with folds is evaluated fold by fold. The predictions of all folds together give one score.

Legend: N examples, S seeds, C classes or tags.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zoo.benchmarks import candidates, robustness
from zoo.benchmarks.conditions import Condition, parse
from zoo.benchmarks.confusion import MAX_CLASSES, class_details
from zoo.benchmarks.evaluated import task_result
from zoo.benchmarks.features import Features
from zoo.benchmarks.item_scores import item_scores
from zoo.benchmarks.kinds import CLASSIFIERS
from zoo.benchmarks.knn import nearest_neighbors
from zoo.benchmarks.kshot import k_shot
from zoo.benchmarks.metrics import METRICS, SHARES
from zoo.benchmarks.mlp import network
from zoo.benchmarks.options import with_defaults
from zoo.benchmarks.probe import ProbeConfig, ProbeResult, probe
from zoo.benchmarks.results import Record, Rows, TaskResult
from zoo.benchmarks.significance import REPLICATES_ANEW, Interval, seeds_interval, statistic_interval
from zoo.benchmarks.suite import SuiteTask
from zoo.benchmarks.targets import Examples, ProbeTargets
from zoo.benchmarks.weighting import probe_weighted
from zoo.errors import ConfigError


def run_probe(task: SuiteTask, folds: Sequence[ProbeTargets], features: Features, device: str = "cpu") -> TaskResult:
    """The score of the best probe, with a row for each test example. Raises ConfigError if no probe can be trained."""
    fits = [_fit(task, targets, features, device, number) for number, targets in enumerate(folds)]
    predictions = Predictions.of(folds, _tests(folds), [fit.outputs for fit in fits])
    result = _result(task, folds, predictions)
    result.layer, result.penalty = Counter((fit.layer, fit.penalty) for fit in fits).most_common(1)[0][0]
    result.curves = _curves(fits)
    details: dict[str, Any] = _choices(folds, fits) if len(folds) > 1 else {}
    if fits[0].chosen:
        details["chosen"] = [fit.chosen for fit in fits]
    if _kind(task) == "class":
        details |= class_details(predictions.names, predictions.test.targets, predictions.outputs)
    result.details = details | result.details
    return result


def run_robustness(
    task: SuiteTask,
    base: SuiteTask,
    folds: Sequence[ProbeTargets],
    features: Features,
    extract: Callable[[list[int], Condition], Features],
    device: str = "cpu",
) -> TaskResult:
    """The change of the score of a probe on corrupted clips, with a row for each test example.

    extract: features of the clips with these indices, corrupted.
    Raises ConfigError if no probe can be trained or tested.
    """
    fits = [_fit(base, targets, features, device, number) for number, targets in enumerate(folds)]
    tests = _tests(folds)
    clips = np.unique(np.concatenate([test.indices for test in tests]))
    corrupted = {name: extract(clips.tolist(), parse(name)) for name in task.conditions}
    failed = {int(clips[index]) for each in corrupted.values() for index in each.failed}
    usable = [np.array([index not in failed for index in test.indices.tolist()], dtype=bool) for test in tests]
    if not any(each.any() for each in usable):
        raise ConfigError("no test clip can be used after the corruption")
    notes = [f"{len(failed)} test clips could not be used after the corruption"] if failed else []
    usable_tests = [test.subset(each) for test, each in zip(tests, usable, strict=True)]
    clean = Predictions.of(folds, usable_tests, [fit.outputs[:, each] for fit, each in zip(fits, usable, strict=True)])
    renumbered = [test.with_indices(np.searchsorted(clips, test.indices)) for test in usable_tests]
    changed = {
        name: Predictions.of(
            folds,
            usable_tests,
            [fit.predict(test.split(base, each)) for fit, test in zip(fits, renumbered, strict=True)],
        )
        for name, each in corrupted.items()
    }
    original = Record(base.name, base.kind, "", "", "", "", "", metric=base.metric)
    before = _rows(base, clean)
    if item_scores(base.kind, base.metric, before):
        rows = {name: _rows(base, predictions) for name, predictions in changed.items()}
        return robustness.from_rows(original, before, rows, notes)
    outputs = {name: predictions.outputs for name, predictions in changed.items()}
    return robustness.from_outputs(original, clean.test, clean.outputs, outputs, notes)


def run_chance(task: SuiteTask, folds: Sequence[ProbeTargets]) -> TaskResult:
    """The best prediction without audio, from train: the most frequent class, tag frequencies, or the mean value."""
    predictions = Predictions.of(folds, _tests(folds), [_chance_outputs(task, targets) for targets in folds])
    return _result(task, folds, predictions)


@dataclass(frozen=True)
class Predictions:
    """Outputs of probes on the test examples of all folds. outputs: (S, N) class indices, or (S, N, C) values.

    names: of the classes; targets and outputs are indices into them.
    """

    test: Examples
    names: list[str]
    outputs: np.ndarray

    @classmethod
    def of(cls, folds: Sequence[ProbeTargets], tests: Sequence[Examples], outputs: Sequence[np.ndarray]) -> Predictions:
        """tests, outputs: the test examples of each fold, and the outputs for them."""
        names = sorted({name for targets in folds for name in targets.names})
        all_tests, all_outputs = [], []
        for targets, test, fold_outputs in zip(folds, tests, outputs, strict=True):
            classes = fold_outputs.ndim == 2
            number = np.searchsorted(names, targets.names)  # a fold may lack a class; its own indices skip it
            all_tests.append(replace(test, targets=number[test.targets]) if classes else test)
            all_outputs.append(number[fold_outputs] if classes else fold_outputs)
        return cls(Examples.concatenate(all_tests), names, np.concatenate(all_outputs, axis=1))


def _tests(folds: Sequence[ProbeTargets]) -> list[Examples]:
    return [targets.splits["test"] for targets in folds]


def _curves(fits: Sequence[ProbeResult]) -> dict[str, list[float]]:
    """Scores, or weights, by layer. With folds: their mean."""
    names = ("weights",) if fits[0].weights else ("dev", "test")
    return {name: np.mean([getattr(fit, name) for fit in fits], axis=0).tolist() for name in names}


def _choices(folds: Sequence[ProbeTargets], fits: Sequence[ProbeResult]) -> dict[str, Any]:
    """Layer and penalty chosen on dev, and the score, of each fold."""
    choices = {}
    for targets, fit in zip(folds, fits, strict=True):
        choices[targets.fold] = {"layer": fit.layer, "penalty": fit.penalty, "score": float(np.mean(fit.scores))}
    return {"folds": choices}


def _result(task: SuiteTask, folds: Sequence[ProbeTargets], predictions: Predictions) -> TaskResult:
    test = predictions.test
    seeds = [METRICS[task.metric](seed, test.targets) for seed in predictions.outputs]
    interval = _interval(task, predictions.outputs, test)
    notes = dict.fromkeys(note for targets in folds for note in targets.notes)
    train_items = round(np.mean([len(targets.splits["train"].targets) for targets in folds]))
    details = {"classes": predictions.names[:MAX_CLASSES], "train_items": train_items}
    fields = {"seeds": seeds, "details": details, "notes": list(notes), "rows": _rows(task, predictions)}
    return task_result(task.metric, float(np.mean(seeds)), interval, test.groups.tolist(), **fields)


def _chance_outputs(task: SuiteTask, targets: ProbeTargets) -> np.ndarray:
    """Outputs of the chance baseline: (1, N) or (1, N, C)."""
    train, count = targets.splits["train"].targets, len(targets.splits["test"].targets)
    if _kind(task) == "class":
        return np.full((1, count), np.bincount(train).argmax())
    return np.broadcast_to(train.mean(0), (1, count, train.shape[1]))


def _fit(task: SuiteTask, targets: ProbeTargets, features: Features, device: str, fold: int) -> ProbeResult:
    config = ProbeConfig(_kind(task), task.metric, seeds=task.seeds, balanced=task.balanced, device=device)
    train, dev, test = (targets.splits[name].split(task, features) for name in ("train", "dev", "test"))
    layers = candidates.of(task, features.layers)
    options = with_defaults(task.kind, task.arguments()) if task.kind in CLASSIFIERS else {}
    if task.kind == "kshot":
        fit = k_shot(train, dev, test, layers, config, **options, fold=fold)
    elif task.kind == "knn":
        fit = nearest_neighbors(train, dev, test, layers, config, **options)
    elif task.kind == "mlp":
        fit = network(train, dev, test, layers, config, **options)
    else:
        run = probe_weighted if task.layers == "weighted" else probe
        fit = run(train, dev, test, layers, config)
    return _of_layers(task, fit, features.layers)


def _of_layers(task: SuiteTask, fit: ProbeResult, count: int) -> ProbeResult:
    """The result with the layer and the pooling of its candidate, and the curves of that pooling over layers."""
    layer, pooling = candidates.layer_and_pooling(task, count, fit.layer)
    if task.pooling == "best":
        half = len(fit.dev) // 2
        part = slice(half) if pooling == "mean" else slice(half, None)
        fit = replace(fit, dev=fit.dev[part], test=fit.test[part], chosen=fit.chosen | {"pooling": pooling})
    return replace(fit, layer=layer)


def _rows(task: SuiteTask, predictions: Predictions) -> Rows:
    """A row with truth and prediction for each test example."""
    test = predictions.test
    if _kind(task) == "class":
        predicted = [[predictions.names[c] for c in column] for column in predictions.outputs.T]
        truth: list[Any] = [predictions.names[c] for c in test.targets]
    else:
        predicted = np.round(predictions.outputs.mean(0), 5).tolist()
        truth = test.targets.tolist()
    groups = test.groups.tolist()
    return [
        {"item": key, "group": group, "truth": target, "predicted": prediction}
        for key, group, target, prediction in zip(test.keys, groups, truth, predicted, strict=True)
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

    return statistic_interval(score, test.groups, replicates=REPLICATES_ANEW, share=task.metric in SHARES)


def _kind(task: SuiteTask) -> str:
    return "class" if task.kind in ("phones", *CLASSIFIERS) else task.kind
