"""Make the targets of a probe from the clips of a task, by split, with notes on the clips that are left out.

Legend: N examples (clips, or time points in clips), C tags, F time points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from zoo.benchmarks.candidates import has_choice, pooled
from zoo.benchmarks.features import Features, time_points
from zoo.benchmarks.items import EvalItem, EvalItems, value_of
from zoo.benchmarks.kinds import CLASSIFIERS
from zoo.benchmarks.metrics import METRICS
from zoo.benchmarks.probe import Split
from zoo.benchmarks.suite import SuiteTask
from zoo.data.manifest import SPLITS
from zoo.errors import ConfigError

MAX_FAILED_SHARE = 0.05
"""If more clips than this cannot be read, the task is skipped: the score would be that of another data set."""


@dataclass
class Examples:
    """One split. indices (N,): of the clips; points (N,): index of the time point, for phones.

    targets and groups as in probe.Split. keys: names of the examples.
    """

    indices: np.ndarray
    points: np.ndarray
    targets: np.ndarray
    groups: np.ndarray
    keys: list[str]

    def subset(self, mask: np.ndarray) -> Examples:
        """The examples where mask (N,) is True."""
        keys = [key for key, selected in zip(self.keys, mask, strict=True) if selected]
        return Examples(self.indices[mask], self.points[mask], self.targets[mask], self.groups[mask], keys)

    @classmethod
    def concatenate(cls, parts: Sequence[Examples]) -> Examples:
        """All examples of the parts, in order."""
        return cls(
            np.concatenate([part.indices for part in parts]),
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.targets for part in parts]),
            np.concatenate([part.groups for part in parts]),
            [key for part in parts for key in part.keys],
        )

    def with_indices(self, indices: np.ndarray) -> Examples:
        """The same examples with other clip indices."""
        return replace(self, indices=indices)

    def split(self, task: SuiteTask, features: Features) -> Split:
        """The examples with their features, for a probe."""
        return Split(_reader(task, features, self), self.targets, self.groups)


@dataclass
class ProbeTargets:
    """splits: train, dev, test. names: of classes or tags. notes: what is left out, and why. fold: the test fold."""

    splits: dict[str, Examples]
    names: list[str]
    notes: list[str] = field(default_factory=list)
    fold: str = ""


def prepare_folds(task: SuiteTask, items: EvalItems, failed: dict[int, str], frames: int) -> list[ProbeTargets]:
    """Targets of a task for each fold; one entry without folds. Raises what `prepare` raises."""
    parts = []
    for fold, part in items.folds(dev=needs_dev(task)):
        try:
            parts.append(replace(prepare(task, part, failed, frames), fold=fold))
        except ConfigError as error:
            raise ConfigError(f"fold {fold}: {error}") if fold else error from None
    return parts


def prepare(task: SuiteTask, items: EvalItems, failed: dict[int, str], frames: int) -> ProbeTargets:
    """Targets of a task without the clips that failed.

    Raises ConfigError if a split has no labels, one class only or too many failed clips.
    """
    selected = items.select(task)
    notes = [*items.notes, *notes_on_failed(items, selected, failed)]
    rows = [(index, items.items[index]) for index in selected if index not in failed]
    prepared = _PREPARERS[task.kind](task, rows, frames)
    prepared.notes = notes + prepared.notes
    for name in SPLITS:
        targets = prepared.splits[name].targets
        if name == "dev" and not len(targets) and not needs_dev(task):
            continue
        if not len(targets):
            raise ConfigError(f"the {name} split has no labeled clips")
        if targets.ndim == 1 and (targets == targets[0]).all():
            raise ConfigError(f"the {name} split has one class only: {prepared.names[targets[0]]}")
        if name != "train" and np.isnan(METRICS[task.metric](targets, targets)):
            raise ConfigError(f"{task.metric} is not defined on the {name} split: its targets are constant")
    return prepared


def needs_dev(task: SuiteTask) -> bool:
    """Is anything of this probe chosen on dev? Not for k-shot and kNN with a given layer and pooling."""
    return task.kind not in ("kshot", "knn") or has_choice(task)


def notes_on_failed(items: EvalItems, selected: Sequence[int], failed: dict[int, str]) -> list[str]:
    """A note on the failed clips. Raises ConfigError if they are too many, of all clips or of one split."""
    broken = [index for index in selected if index in failed]
    for split in ("", *SPLITS):
        in_split = [index for index in selected if not split or items.items[index].entry.split == split]
        lost = [index for index in in_split if index in failed]
        if len(lost) > MAX_FAILED_SHARE * len(in_split):
            what = f"{len(lost)} of {len(in_split)} clips {f'of {split} ' if split else ''}cannot be used"
            raise ConfigError(f"{what}, e.g. {items.items[lost[0]].key}: {failed[lost[0]]}")
    return (
        [f"{len(broken)} of {len(selected)} clips could not be used, e.g. {items.items[broken[0]].key}"]
        if broken
        else []
    )


def _classes(task: SuiteTask, rows: Sequence[tuple[int, EvalItem]], frames: int) -> ProbeTargets:
    labeled = [(index, item, str(v)) for index, item in rows if (v := value_of(item.entry, task.target)) is not None]
    notes = _unlabeled(len(rows), len(labeled))
    return _class_targets([(index, 0, item, label) for index, item, label in labeled], notes)


def _phones(task: SuiteTask, rows: Sequence[tuple[int, EvalItem]], frames: int) -> ProbeTargets:
    labeled = []
    with_phones = [(index, item) for index, item in rows if item.entry.phones]
    for index, item in with_phones:
        starts = np.array([start for start, _, _ in item.entry.phones])
        for point, time in enumerate(time_points(item, frames)):
            _, end, symbol = item.entry.phones[int(np.searchsorted(starts, time, "right")) - 1]
            if time < end:
                labeled.append((index, point, item, symbol))
    return _class_targets(labeled, _unlabeled(len(rows), len(with_phones)))


def _class_targets(labeled: Sequence[tuple[int, int, EvalItem, str]], notes: list[str]) -> ProbeTargets:
    """Class indices, by the classes of train. Examples of other classes are left out; a note counts them."""
    names = sorted({label for _, _, item, label in labeled if item.entry.split == "train"})
    number = {name: n for n, name in enumerate(names)}
    unseen = [label for _, _, _, label in labeled if label not in number]
    if unseen:
        classes = ", ".join(sorted(set(unseen))[:5])
        notes.append(f"{len(unseen)} examples left out, because train does not have their classes ({classes})")
    examples = [(index, point, item, number[label]) for index, point, item, label in labeled if label in number]
    return ProbeTargets(_by_split(examples, np.int64), names, notes)


def _tags(task: SuiteTask, rows: Sequence[tuple[int, EvalItem]], frames: int) -> ProbeTargets:
    tags_of_clips = [
        {f"{column}={v}" for column in task.columns if (v := value_of(item.entry, column)) is not None}
        for _, item in rows
    ]
    names = sorted(set().union(*(tags for tags, (_, item) in zip(tags_of_clips, rows, strict=True) if _is_train(item))))
    if not names:
        raise ConfigError("no clip of train has a tag")
    unseen = sorted(set().union(*tags_of_clips) - set(names))
    notes = (
        [f"{len(unseen)} tags left out, because train does not have them ({', '.join(unseen[:5])})"] if unseen else []
    )
    labeled = [
        (index, 0, item, [float(name in tags) for name in names])
        for tags, (index, item) in zip(tags_of_clips, rows, strict=True)
    ]
    return ProbeTargets(_by_split(labeled, np.float64), names, notes)


def _values(task: SuiteTask, rows: Sequence[tuple[int, EvalItem]], frames: int) -> ProbeTargets:
    labeled = []
    for index, item in rows:
        value = value_of(item.entry, task.target)
        if value is None:
            continue
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ConfigError(f"{item.key}: {task.target} is {value!r}, but a number is needed")
        labeled.append((index, 0, item, [number]))
    return ProbeTargets(_by_split(labeled, np.float64), [task.target], _unlabeled(len(rows), len(labeled)))


_PREPARERS: dict[str, Callable[[SuiteTask, Sequence[tuple[int, EvalItem]], int], ProbeTargets]] = {
    **dict.fromkeys(("class", *CLASSIFIERS), _classes),
    "phones": _phones,
    "tags": _tags,
    "value": _values,
}


def _is_train(item: EvalItem) -> bool:
    return item.entry.split == "train"


def _unlabeled(count: int, labeled: int) -> list[str]:
    return [f"{count - labeled} of {count} clips have no label and are left out"] if labeled < count else []


def _by_split(labeled: Sequence[tuple[int, int, EvalItem, object]], dtype: type) -> dict[str, Examples]:
    splits = {}
    for name in SPLITS:
        rows = [row for row in labeled if row[2].entry.split == name]
        splits[name] = Examples(
            indices=np.array([index for index, _, _, _ in rows], dtype=np.int64),
            points=np.array([point for _, point, _, _ in rows], dtype=np.int64),
            targets=np.array([target for _, _, _, target in rows], dtype=dtype),
            groups=np.array([item.group for _, _, item, _ in rows]),
            keys=[f"{item.key}#{point}" if point else item.key for _, point, item, _ in rows],
        )
    return splits


def _reader(task: SuiteTask, features: Features, examples: Examples) -> Callable[[int], Tensor]:
    """A function from a layer to the features (N, D) of the examples."""
    if task.kind != "phones":
        return lambda layer: pooled(task, features, layer, examples.indices)
    clips, row = np.unique(examples.indices, return_inverse=True)
    return lambda layer: features.frames(layer, clips)[row, examples.points]
