"""Read the clips of a source, filter and split them, hash their audio, and check for leaks between splits."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zoo.benchmarks.published_splits import random_folds, read_entries
from zoo.benchmarks.suite import SuiteSource, SuiteTask
from zoo.data import manifest, sources
from zoo.data.manifest import SPLITS, Entry, Label
from zoo.errors import ConfigError, ZooError

GROUPS = ("speaker", "piece", "artist", "session", "source_clip")
"""Columns that always count as groups: clips with the same value are not independent."""


class LeakError(ZooError, ValueError):
    """More than one split has the same recording, file or group. The message names it and says how to fix it."""


@dataclass(frozen=True)
class EvalItem:
    """One clip. digest: of the bytes of its file and its span.

    group: clips of one group are not independent; the value of a column, or the file if no column has one. key: a
    readable name, unique in its source and the same on every machine. fold: its fold, if the source has folds.
    """

    entry: Entry
    digest: str
    group: str
    key: str
    fold: str = ""

    def with_split(self, test: str, dev: str | None) -> EvalItem:
        """A copy in the split of its fold, with these folds as test and dev. None: no clip is in dev."""
        split = "test" if self.fold == test else "dev" if self.fold == dev else "train"
        return replace(self, entry=replace(self.entry, split=split))


@dataclass(frozen=True)
class EvalItems:
    """All clips of a source, in a fixed order. fingerprint: 16 hex digits over audio and labels."""

    items: tuple[EvalItem, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()

    def subset(self, indices: Sequence[int]) -> EvalItems:
        """These clips as a separate source."""
        total = hashlib.sha256(f"{self.fingerprint} {list(indices)}".encode())
        return EvalItems(tuple(self.items[index] for index in indices), total.hexdigest()[:16], self.notes)

    def folds(self, *, dev: bool = True) -> list[tuple[str, EvalItems]]:
        """(name of the test fold, the clips with that split), for each fold in alphabetical order.

        The next fold is dev, or part of train if `dev` is False. Without folds: ("", the clips as they are).
        """
        names = sorted({item.fold for item in self.items})
        if names == [""]:
            return [("", self)]
        parts = []
        for test, following in zip(names, names[1:] + names[:1], strict=True):
            clips = tuple(item.with_split(test, following if dev else None) for item in self.items)
            parts.append((test, replace(self, items=clips)))
        return parts

    def select(self, task: SuiteTask) -> list[int]:
        """Indices of the clips that a task uses. Raises ConfigError if no clip has one of its columns."""
        for column in (*task.where, *([task.target] if task.target else []), *task.columns):
            if all(value_of(item.entry, column) is None for item in self.items):
                raise ConfigError(f"no clip has a column {column!r}; {_columns([item.entry for item in self.items])}")
        return [
            index
            for index, item in enumerate(self.items)
            if all(str(value_of(item.entry, column)) == value for column, value in task.where.items())
        ]


def value_of(entry: Entry, column: str) -> Label:
    """The value of a label column, or of text, speaker or lang. None if the clip has none."""
    if column in ("text", "speaker", "lang"):
        return getattr(entry, column)
    return entry.labels.get(column)


def open_source(source: SuiteSource) -> EvalItems:
    """Read a source and check it.

    Clips with a missing file are kept: they fail when they are decoded, and are counted. With folds, all are in test.
    Raises LeakError if splits, or folds, share a recording; also if they share a group or spans of one audio file,
    unless `shared` gives the reason. Raises what reading a manifest raises; ConfigError for a source without clips, and
    for fields that do not fit.
    """
    entries = _limit(_split(read_entries(source), source), source.limit)
    if not entries:
        raise ConfigError("no clips are left: check limit, dev and test of the source")
    columns = _group_columns(entries, source)
    digests, files = _digests(entries)
    folds = _folds(entries, source)
    notes = [*_unassigned_note(entries, source), *_check_leaks(entries, folds, digests, files, columns, source)]
    unit = columns[0] if columns else ""
    items = [
        EvalItem(
            entry, digest, str(value_of(entry, unit) if unit and value_of(entry, unit) is not None else file), key, fold
        )
        for entry, digest, file, key, fold in zip(entries, digests, files, _keys(entries, digests), folds, strict=True)
    ]
    total = hashlib.sha256(f"{source.group}\n".encode() if source.group else b"")  # other groups give other intervals
    total.update(f"folds {source.folds}\n".encode() if source.folds else b"")
    for item in items:
        line = f"{item.digest} {manifest.dump(item.entry, item.entry.audio.parent)}\n"
        total.update(line.encode(errors="surrogateescape"))
    return EvalItems(tuple(items), total.hexdigest()[:16], tuple(notes))


def _group_columns(entries: Sequence[Entry], source: SuiteSource) -> list[str]:
    """Columns of which no two splits may share a value. The first one is the unit of the intervals."""
    available = [column for column in GROUPS if any(value_of(entry, column) is not None for entry in entries)]
    if not source.group:
        return available
    if all(value_of(entry, source.group) is None for entry in entries):
        raise ConfigError(f"group {source.group!r}: no clip has such a column; {_columns(entries)}")
    return [source.group, *(column for column in available if column != source.group)]


def _columns(entries: Sequence[Entry]) -> str:
    available = sorted({key for entry in entries for key in entry.labels})
    return f"label columns: {', '.join(available) or 'none'}"


def _digests(entries: Sequence[Entry]) -> tuple[list[str], list[str]]:
    """Two digests per clip: of its file and span, and of the file only. They are equal for whole files.

    A file is read once.
    """
    read: dict[Path, hashlib._Hash] = {}
    digests, files = [], []
    for entry in entries:
        if entry.audio not in read:
            read[entry.audio] = _hash(entry.audio)
        digest = read[entry.audio].copy()
        files.append(digest.hexdigest()[:24])
        if entry.start is not None or entry.end is not None:
            digest.update(f"{entry.start} {entry.end}".encode())
        digests.append(digest.hexdigest()[:24])
    return digests, files


def _hash(path: Path) -> hashlib._Hash:
    """Hash of the bytes of a file; of its name and its folder's name if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        digest.update(f"{path.parent.name}/{path.name}".encode(errors="surrogateescape"))
    return digest


def _keys(entries: Sequence[Entry], digests: Sequence[str]) -> list[str]:
    """Folder, file and start of each clip, with 8 digits of its digest if that is not unique.

    Sets such as CMU ARCTIC use the same file and folder names for every speaker.
    """
    names = [_name(entry) for entry in entries]
    name_counts = Counter(names)
    seen: Counter[str] = Counter()
    keys = []
    for name, digest in zip(names, digests, strict=True):
        key = name if name_counts[name] == 1 else f"{name}#{digest[:8]}"
        seen[key] += 1
        keys.append(key if seen[key] == 1 else f"{key}.{seen[key]}")  # the same audio, listed twice
    return keys


def _name(entry: Entry) -> str:
    name = _file(entry)
    if entry.start is None:
        return name
    short = f"{entry.start:g}"  # six digits: steps of 10 ms after 1000 s
    return f"{name}@{short if float(short) == entry.start else repr(float(entry.start))}"


def _file(entry: Entry) -> str:
    """Folder and file name. Bytes that are not UTF-8 become a replacement character."""
    return f"{entry.audio.parent.name}/{entry.audio.name}".encode(errors="surrogateescape").decode(errors="replace")


def _split(entries: list[Entry], source: SuiteSource) -> list[Entry]:
    """Assign splits by the values of `split_by`, if the source has it. With folds, all clips are in test."""
    if source.folds:
        if source.split_by or source.dev or source.test or {*source.limit} - {"test"}:
            raise ConfigError(
                "folds: each fold is test once; remove split_by, dev, test, and all limits but that of test"
            )
        for entry in entries:
            entry.split = "test"
        return entries
    if not source.split_by:
        if source.dev or source.test:
            raise ConfigError("dev and test list values of a column: name the column (split_by: speaker)")
        return entries
    if both := sorted({*source.dev} & {*source.test}):
        raise ConfigError(f"split_by {source.split_by}: {', '.join(both)} cannot be in dev and in test")
    values = {str(value_of(entry, source.split_by)) for entry in entries}
    if missing := {*source.dev, *source.test} - values:
        raise ConfigError(f"split_by {source.split_by}: no clip has {sorted(missing)}; there are {sorted(values)}")
    for entry in entries:
        value = str(value_of(entry, source.split_by))
        entry.split = "test" if value in source.test else "dev" if value in source.dev else "train"
    return entries


def _folds(entries: Sequence[Entry], source: SuiteSource) -> list[str]:
    """The fold of each clip; empty if the source has none. Raises ConfigError if the column gives no valid folds."""
    if not source.folds:
        return [""] * len(entries)
    if source.folds.startswith("random "):
        return random_folds(len(entries), source.folds)
    values = [value_of(entry, source.folds) for entry in entries]
    if missing := sum(value in (None, "") for value in values):
        what = f"{missing} of {len(entries)} clips have no value in this column; {_columns(entries)}"
        raise ConfigError(f"folds {source.folds!r}: {what}; leave them out (sources: manifest.jsonl [column=value])")
    folds = [str(value) for value in values]
    if len(names := sorted({*folds})) < 3:
        raise ConfigError(f"folds {source.folds!r}: train, dev and test need 3 values or more, there are {names}")
    return folds


def _unassigned_note(entries: Sequence[Entry], source: SuiteSource) -> list[str]:
    count = sum(value_of(entry, source.split_by) is None for entry in entries) if source.split_by else 0
    return [f"{count} clips without {source.split_by} are in train"] if count else []


def _limit(entries: list[Entry], limit: dict[str, int]) -> list[Entry]:
    """At most limit[split] clips of each split: those with the smallest hash of the name, in the manifest's order."""
    if unknown := set(limit) - set(SPLITS):
        raise ConfigError(f"limit: {sorted(unknown)}: unknown split; the splits are {', '.join(SPLITS)}")
    if negative := [split for split, count in limit.items() if count < 0]:
        raise ConfigError(
            f"limit: {negative[0]}: {limit[negative[0]]} clips is negative; remove the limit to use all clips"
        )
    return sources.limited(entries, limit)


def _check_leaks(
    entries: Sequence[Entry],
    folds: Sequence[str],
    digests: Sequence[str],
    files: Sequence[str],
    columns: Sequence[str],
    source: SuiteSource,
) -> list[str]:
    """Raise LeakError, or return notes that appear with the results."""
    one, key = ("fold", "folds") if source.folds else ("split", "split_by")
    splits = folds if source.folds else [entry.split for entry in entries]
    if shared := _in_several(splits, digests):
        names = [str(entry.audio) for digest, entry in zip(digests, entries, strict=True) if digest == shared[0]]
        raise LeakError(f"{len(shared)} recordings are in more than one {one}, e.g. {', '.join(names[:3])}")
    notes = []
    if shared := _in_several(splits, files):
        name = _file(entries[files.index(shared[0])])
        what = f"{len(shared)} audio files have spans in more than one {one}, e.g. {name}"
        notes.append(_note_or_raise(what, f"keep the spans of a file in one {one}", source))
    for column in columns:
        values = [None if (v := value_of(entry, column)) is None else str(v) for entry in entries]
        if shared := _in_several(splits, values):
            what = f"{len(shared)} of the column {column!r} are in more than one {one}, e.g. {', '.join(shared[:3])}"
            notes.append(_note_or_raise(what, f"split by it ({key}: {column})", source))
    return notes


def _note_or_raise(what: str, fix: str, source: SuiteSource) -> str:
    """A note with the reason why splits may share something. Raises LeakError if the source gives no reason."""
    if not source.shared:
        raise LeakError(f"{what}; {fix}, or give the reason if the published split does this (shared: ...)")
    return f"{what} ({source.shared})"


def _in_several(splits: Sequence[str], values: Sequence[str | None]) -> list[str]:
    """Values that occur in more than one split."""
    splits_of: dict[str, set[str]] = defaultdict(set)
    for split, value in zip(splits, values, strict=True):
        if value is not None:
            splits_of[value].add(split)
    return sorted(value for value, names in splits_of.items() if len(names) > 1)
