"""From the clips of a task to what a probe learns: targets by split, and what had to be left out, in words.

Legend: N examples (clips, or points of time in clips), C tags, F points of time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from zoo.benchmarks.features import Features, points_of_time
from zoo.benchmarks.items import EvalItem, EvalItems, value_of
from zoo.benchmarks.metrics import METRICS
from zoo.benchmarks.probe import Split
from zoo.benchmarks.suite import SuiteTask
from zoo.data.manifest import SPLITS
from zoo.errors import ConfigError

FAILED_SHARE = 0.05
"""With more clips than this unreadable, a number would be about another data set."""


@dataclass
class Examples:
    """One split. places (N,): items; points (N,): which point of time, for phones; targets as in probe.Split."""

    places: np.ndarray
    points: np.ndarray
    targets: np.ndarray
    groups: np.ndarray
    keys: list[str]

    def only(self, chosen: np.ndarray) -> Examples:
        """Those where chosen (N,) is true."""
        keys = [key for key, wanted in zip(self.keys, chosen, strict=True) if wanted]
        return Examples(self.places[chosen], self.points[chosen], self.targets[chosen], self.groups[chosen], keys)

    @classmethod
    def joined(cls, parts: Sequence[Examples]) -> Examples:
        """All of them, one after the other."""
        return cls(
            np.concatenate([part.places for part in parts]),
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.targets for part in parts]),
            np.concatenate([part.groups for part in parts]),
            [key for part in parts for key in part.keys],
        )

    def at(self, places: np.ndarray) -> Examples:
        """The same examples, whose clips stand at other places."""
        return replace(self, places=places)

    def split(self, task: SuiteTask, features: Features) -> Split:
        """For a probe, with their features."""
        return Split(_reader(task, features, self), self.targets, self.groups)


@dataclass
class ProbeTargets:
    """splits: train, dev, test. names: of classes or tags. notes: what was left out, and why. fold: that is test."""

    splits: dict[str, Examples]
    names: list[str]
    notes: list[str] = field(default_factory=list)
    fold: str = ""


def prepare_folds(task: SuiteTask, items: EvalItems, failed: dict[int, str], frames: int) -> list[ProbeTargets]:
    """Targets of a task for each fold of the clips; of one where they have no folds. Raises what `prepare` raises."""
    parts = []
    for fold, part in items.folds():
        try:
            parts.append(replace(prepare(task, part, failed, frames), fold=fold))
        except ConfigError as error:
            raise ConfigError(f"fold {fold}: {error}") if fold else error from None
    return parts


def prepare(task: SuiteTask, items: EvalItems, failed: dict[int, str], frames: int) -> ProbeTargets:
    """Targets of a task without the clips that failed.

    Raises ConfigError where nothing can be learned, chosen or asked: a split without labels or of one class, too many
    clips that failed.
    """
    chosen = items.chosen(task)
    notes = [*items.notes, *_without_failed(items, chosen, failed)]
    rows = [(place, items.items[place]) for place in chosen if place not in failed]
    found = _PREPARERS[task.kind](task, rows, frames)
    found.notes = notes + found.notes
    for name in SPLITS:
        targets = found.splits[name].targets
        if not len(targets):
            raise ConfigError(f"the {name} split has no labeled clips")
        if targets.ndim == 1 and (targets == targets[0]).all():
            raise ConfigError(f"the {name} split has one class only: {found.names[targets[0]]}")
        if name != "train" and np.isnan(METRICS[task.metric](targets, targets)):
            raise ConfigError(f"{task.metric} is not defined on the {name} split: what is asked does not vary there")
    return found


def _without_failed(items: EvalItems, chosen: Sequence[int], failed: dict[int, str]) -> list[str]:
    """What is to be said of the clips that failed. Raises ConfigError where they are too many of all, or of a split."""
    broken = [place for place in chosen if place in failed]
    for split in ("", *SPLITS):
        asked = [place for place in chosen if not split or items.items[place].entry.split == split]
        lost = [place for place in asked if place in failed]
        if len(lost) > FAILED_SHARE * len(asked):
            what = f"{len(lost)} of {len(asked)} clips {f'of {split} ' if split else ''}cannot be used"
            raise ConfigError(f"{what}, e.g. {items.items[lost[0]].key}: {failed[lost[0]]}")
    return (
        [f"{len(broken)} of {len(chosen)} clips could not be used, e.g. {items.items[broken[0]].key}"] if broken else []
    )


def _classes(task: SuiteTask, rows: Sequence[tuple[int, EvalItem]], frames: int) -> ProbeTargets:
    labeled = [(place, item, str(v)) for place, item in rows if (v := value_of(item.entry, task.target)) is not None]
    notes = _unlabeled(len(rows), len(labeled))
    return _known_classes([(place, 0, item, label) for place, item, label in labeled], notes)


def _phones(task: SuiteTask, rows: Sequence[tuple[int, EvalItem]], frames: int) -> ProbeTargets:
    labeled = []
    with_phones = [(place, item) for place, item in rows if item.entry.phones]
    for place, item in with_phones:
        starts = np.array([start for start, _, _ in item.entry.phones])
        for point, time in enumerate(points_of_time(item, frames)):
            _, end, symbol = item.entry.phones[int(np.searchsorted(starts, time, "right")) - 1]
            if time < end:
                labeled.append((place, point, item, symbol))
    return _known_classes(labeled, _unlabeled(len(rows), len(with_phones)))


def _known_classes(labeled: Sequence[tuple[int, int, EvalItem, str]], notes: list[str]) -> ProbeTargets:
    """Class numbers by the classes of train; examples of other classes are left out, and counted."""
    names = sorted({label for _, _, item, label in labeled if item.entry.split == "train"})
    number = {name: n for n, name in enumerate(names)}
    strange = [(item.entry.split, label) for _, _, item, label in labeled if label not in number]
    if strange:
        classes = sorted({label for _, label in strange})
        notes.append(f"{len(strange)} examples left out: their classes are not in train ({', '.join(classes[:5])})")
    known = [(place, point, item, number[label]) for place, point, item, label in labeled if label in number]
    return ProbeTargets(_by_split(known, np.int64), names, notes)


def _tags(task: SuiteTask, rows: Sequence[tuple[int, EvalItem]], frames: int) -> ProbeTargets:
    carried = [
        {f"{column}={v}" for column in task.columns if (v := value_of(item.entry, column)) is not None}
        for _, item in rows
    ]
    names = sorted(set().union(*(tags for tags, (_, item) in zip(carried, rows, strict=True) if _is_train(item))))
    if not names:
        raise ConfigError("no clip of train carries a tag")
    strange = sorted(set().union(*carried) - set(names))
    notes = [f"{len(strange)} tags left out: train lacks them ({', '.join(strange[:5])})"] if strange else []
    labeled = [
        (place, 0, item, [float(name in tags) for name in names])
        for tags, (place, item) in zip(carried, rows, strict=True)
    ]
    return ProbeTargets(_by_split(labeled, np.float64), names, notes)


def _values(task: SuiteTask, rows: Sequence[tuple[int, EvalItem]], frames: int) -> ProbeTargets:
    labeled = []
    for place, item in rows:
        value = value_of(item.entry, task.target)
        if value is None:
            continue
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ConfigError(f"{item.key}: {task.target} is {value!r}, where a number is needed")
        labeled.append((place, 0, item, [number]))
    return ProbeTargets(_by_split(labeled, np.float64), [task.target], _unlabeled(len(rows), len(labeled)))


_PREPARERS: dict[str, Callable[[SuiteTask, Sequence[tuple[int, EvalItem]], int], ProbeTargets]] = {
    "class": _classes,
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
            places=np.array([place for place, _, _, _ in rows], dtype=np.int64),
            points=np.array([point for _, point, _, _ in rows], dtype=np.int64),
            targets=np.array([target for _, _, _, target in rows], dtype=dtype),
            groups=np.array([item.group for _, _, item, _ in rows]),
            keys=[f"{item.key}#{point}" if point else item.key for _, point, item, _ in rows],
        )
    return splits


def _reader(task: SuiteTask, features: Features, examples: Examples) -> Callable[[int], Tensor]:
    """layer -> (N, D)."""
    if task.kind != "phones":
        return lambda layer: features.pooled(layer, examples.places, task.pooling)
    clips, row = np.unique(examples.places, return_inverse=True)
    return lambda layer: features.frames(layer, clips)[row, examples.points]
