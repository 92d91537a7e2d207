"""Clips as published benchmarks split them: random folds, and data sets whose rows are pairs of clips."""

from __future__ import annotations

import re

from sklearn.model_selection import KFold

from zoo.benchmarks.suite import SuiteSource
from zoo.data import sources
from zoo.data.manifest import SPLITS, Entry
from zoo.errors import ConfigError


def read_entries(source: SuiteSource) -> list[Entry]:
    """The entries of a source, all in one split if it is `whole`; of rows with two audio columns, as pairs.

    Raises what reading a source raises; ConfigError for pairs that are not complete, and for an unknown split.
    """
    entries = _read_pairs(source) if source.pair else sources.open(source.sources)
    if source.whole:
        if source.whole not in SPLITS or source.split_by or source.folds:
            raise ConfigError(f"whole: {source.whole!r}: choose one of {', '.join(SPLITS)}, without split_by and folds")
        for entry in entries:
            entry.split = source.whole
    return entries


def _read_pairs(source: SuiteSource) -> list[Entry]:
    """The clips of the first audio column, then those of the second. The label `pair` is the number of the row."""
    if len(source.pair) != 2 or source.limit:
        raise ConfigError("pair: name two audio columns, and set no limit: it would separate the clips of a pair")
    first, second = (sources.open(source.sources, {"audio": column}) for column in source.pair)
    if len(first) != len(second):
        counts = f"{len(first)} and {len(second)} clips"
        raise ConfigError(f"pair {' and '.join(source.pair)}: {counts}; every row needs audio in both columns")
    for number, both in enumerate(zip(first, second, strict=True)):
        for entry in both:
            entry.labels["pair"] = str(number)
    return [*first, *second]


def random_folds(clips: int, folds: str) -> list[str]:
    """The fold of each clip, as in the cross-validation of MTEB: shuffled with seed 42, in folds of equal size.

    folds: "random 5". Raises ConfigError for another text, and for a number of folds that is not possible.
    """
    match = re.fullmatch(r"random (\d{1,3})", folds)
    count = int(match[1]) if match else 0
    if not 3 <= count <= min(clips, 100):
        raise ConfigError(f"folds {folds!r}: {clips} clips can have 3 to {min(clips, 100)} folds")
    names = [""] * clips
    for number, (_, rows) in enumerate(KFold(count, shuffle=True, random_state=42).split(range(clips))):
        for row in rows:
            names[row] = f"{number:02d}"
    return names
