"""The clips of a source: read, filtered, split, identified by their audio, and checked for leaks between splits."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zoo.benchmarks.suite import SuiteSource, SuiteTask
from zoo.data import manifest, sources
from zoo.data.manifest import SPLITS, Entry, Label
from zoo.errors import ConfigError, ZooError

GROUPS = ("speaker", "piece", "artist", "session", "source_clip")
"""Columns that are taken for groups wherever they occur: clips that share a value are not independent."""


class LeakError(ZooError, ValueError):
    """Something is in more than one split. The message names it and the way out."""


@dataclass(frozen=True)
class EvalItem:
    """One clip. digest: of the bytes of its file and its span.

    group: what it is not independent within: the value of a column, its file where no column says. key: a name
    for people, the same on every machine, which no other clip of its source has. fold: that of the source's folds.
    """

    entry: Entry
    digest: str
    group: str
    key: str
    fold: str = ""

    def dealt(self, test: str, dev: str) -> EvalItem:
        """In the split that its fold is in when these folds are test and dev."""
        split = "test" if self.fold == test else "dev" if self.fold == dev else "train"
        return replace(self, entry=replace(self.entry, split=split))


@dataclass(frozen=True)
class EvalItems:
    """All clips of a source, in a fixed order. fingerprint: 16 hex digits over audio and labels."""

    items: tuple[EvalItem, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()

    def only(self, places: Sequence[int]) -> EvalItems:
        """Those clips, as a source of their own."""
        total = hashlib.sha256(f"{self.fingerprint} {list(places)}".encode())
        return EvalItems(tuple(self.items[place] for place in places), total.hexdigest()[:16], self.notes)

    def folds(self) -> list[tuple[str, EvalItems]]:
        """(fold that is test, the clips split so), for each fold in the order of the alphabet; the next one is dev.

        Without folds, the clips as they are, of no name.
        """
        names = sorted({item.fold for item in self.items})
        if names == [""]:
            return [("", self)]
        following = names[1:] + names[:1]
        return [
            (test, replace(self, items=tuple(item.dealt(test, dev) for item in self.items)))
            for test, dev in zip(names, following, strict=True)
        ]

    def chosen(self, task: SuiteTask) -> list[int]:
        """Places of the clips that a task is about."""
        for column in (*task.where, *([task.target] if task.target else []), *task.columns):
            if all(value_of(item.entry, column) is None for item in self.items):
                raise ConfigError(f"no clip has a column {column!r}; {_columns([item.entry for item in self.items])}")
        return [
            place
            for place, item in enumerate(self.items)
            if all(str(value_of(item.entry, column)) == value for column, value in task.where.items())
        ]


def value_of(entry: Entry, column: str) -> Label:
    """A label column, or one of text, speaker, lang."""
    if column in ("text", "speaker", "lang"):
        return getattr(entry, column)
    return entry.labels.get(column)


def open_source(source: SuiteSource) -> EvalItems:
    """Read a source and check it.

    Clips whose file is missing are kept: they fail when they are decoded, and are counted. Where the source has folds,
    all clips are test, for each of them is asked about once.
    Raises LeakError where splits, or folds, share a recording, or, unless `shared` says why, a group or spans of one
    audio file; what reading a manifest raises; ConfigError for a source without clips, and for fields that do not fit.
    """
    entries = _limit(_split(sources.open(source.source), source), source.limit)
    if not entries:
        raise ConfigError("no clips are left: check limit, dev and test of the source")
    columns = _group_columns(entries, source)
    digests, files = _digests(entries)
    folds = _folds(entries, source)
    notes = [*_not_dealt(entries, source), *_check_leaks(entries, folds, digests, files, columns, source)]
    unit = columns[0] if columns else ""
    items = [
        EvalItem(
            entry, digest, str(value_of(entry, unit) if unit and value_of(entry, unit) is not None else file), key, fold
        )
        for entry, digest, file, key, fold in zip(entries, digests, files, _keys(entries, digests), folds, strict=True)
    ]
    total = hashlib.sha256(f"{source.group}\n".encode() if source.group else b"")  # other groups: other intervals
    total.update(f"folds {source.folds}\n".encode() if source.folds else b"")
    for item, file in zip(items, files, strict=True):
        line = f"{item.digest} {manifest.dump(item.entry, item.entry.audio.parent)}\n"
        total.update(line.encode(errors="surrogateescape"))
        if item.group == file != item.digest:  # once such spans were groups of their own: other intervals, other data
            total.update(file.encode())
    return EvalItems(tuple(items), total.hexdigest()[:16], tuple(notes))


def _group_columns(entries: Sequence[Entry], source: SuiteSource) -> list[str]:
    """The columns that no two splits may share a value of; the first is the unit of error bars."""
    known = [column for column in GROUPS if any(value_of(entry, column) is not None for entry in entries)]
    if not source.group:
        return known
    if all(value_of(entry, source.group) is None for entry in entries):
        raise ConfigError(f"group {source.group!r}: no clip has such a column; {_columns(entries)}")
    return [source.group, *(column for column in known if column != source.group)]


def _columns(entries: Sequence[Entry]) -> str:
    known = sorted({key for entry in entries for key in entry.labels})
    return f"label columns: {', '.join(known) or 'none'}"


def _digests(entries: Sequence[Entry]) -> tuple[list[str], list[str]]:
    """Of each clip, its file and span; and of the file alone. The same for whole files. A file is read once."""
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
    """Of the file's bytes; of its name and folder's where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        digest.update(f"{path.parent.name}/{path.name}".encode(errors="surrogateescape"))
    return digest


def _keys(entries: Sequence[Entry], digests: Sequence[str]) -> list[str]:
    """Folder, file and start of each clip; with 8 digits of its digest where that is not unique.

    Sets such as CMU ARCTIC name the clips of all speakers alike, in folders that are named alike.
    """
    names = [_name(entry) for entry in entries]
    often = Counter(names)
    seen: Counter[str] = Counter()
    keys = []
    for name, digest in zip(names, digests, strict=True):
        key = name if often[name] == 1 else f"{name}#{digest[:8]}"
        seen[key] += 1
        keys.append(key if seen[key] == 1 else f"{key}.{seen[key]}")  # the same audio, listed again
    return keys


def _name(entry: Entry) -> str:
    name = _file(entry)
    if entry.start is None:
        return name
    short = f"{entry.start:g}"  # six digits, so after 1000 s steps of 10 ms
    return f"{name}@{short if float(short) == entry.start else repr(float(entry.start))}"


def _file(entry: Entry) -> str:
    """What is not UTF-8 in a name, as file systems allow, becomes a mark that can be written and shown."""
    return f"{entry.audio.parent.name}/{entry.audio.name}".encode(errors="surrogateescape").decode(errors="replace")


def _split(entries: list[Entry], source: SuiteSource) -> list[Entry]:
    """Deal the values of `split_by` out to the splits, where a source asks for it; with folds, all clips are test."""
    if source.folds:
        if source.split_by or source.dev or source.test or {*source.limit} - {"test"}:
            raise ConfigError(
                "folds: each fold is test once, so split_by, dev, test and limits but test's do not go along"
            )
        for entry in entries:
            entry.split = "test"
        return entries
    if not source.split_by:
        if source.dev or source.test:
            raise ConfigError("dev and test deal values of a column out to splits: say of which (split_by: speaker)")
        return entries
    if both := sorted({*source.dev} & {*source.test}):
        raise ConfigError(f"split_by {source.split_by}: {', '.join(both)} cannot be in dev and in test")
    found = {str(value_of(entry, source.split_by)) for entry in entries}
    if missing := {*source.dev, *source.test} - found:
        raise ConfigError(f"split_by {source.split_by}: no clip has {sorted(missing)}; there are {sorted(found)}")
    for entry in entries:
        value = str(value_of(entry, source.split_by))
        entry.split = "test" if value in source.test else "dev" if value in source.dev else "train"
    return entries


def _folds(entries: Sequence[Entry], source: SuiteSource) -> list[str]:
    """The fold of each clip; empty where the source has none. Raises ConfigError where folds cannot be made of it."""
    if not source.folds:
        return [""] * len(entries)
    values = [value_of(entry, source.folds) for entry in entries]
    if without := sum(value in (None, "") for value in values):
        what = f"{without} of {len(entries)} clips have no such value; {_columns(entries)}"
        raise ConfigError(f"folds {source.folds!r}: {what}; leave them out (source: manifest.jsonl [column=value])")
    folds = [str(value) for value in values]
    if len(names := sorted({*folds})) < 3:
        raise ConfigError(f"folds {source.folds!r}: 3 values or more are needed to train, choose and test: {names}")
    return folds


def _not_dealt(entries: Sequence[Entry], source: SuiteSource) -> list[str]:
    count = sum(value_of(entry, source.split_by) is None for entry in entries) if source.split_by else 0
    return [f"{count} clips without {source.split_by} are in train, whomever they are of"] if count else []


def _limit(entries: list[Entry], limit: dict[str, int]) -> list[Entry]:
    """At most limit[split] clips of each split: those whose names have the least hashes, in the manifest's order."""
    if unknown := set(limit) - set(SPLITS):
        raise ConfigError(f"limit: {sorted(unknown)} are no splits; the splits are {', '.join(SPLITS)}")
    if negative := [split for split, count in limit.items() if count < 0]:
        raise ConfigError(f"limit: {negative[0]}: {limit[negative[0]]} clips are asked for; leave it out to take all")
    kept: set[int] = set()
    for split in SPLITS:
        places = [place for place, entry in enumerate(entries) if entry.split == split]
        places.sort(
            key=lambda place: hashlib.sha256(entries[place].audio.name.encode(errors="surrogateescape")).digest()
        )
        kept.update(places[: limit.get(split, len(places))])
    return [entry for place, entry in enumerate(entries) if place in kept]


def _check_leaks(
    entries: Sequence[Entry],
    folds: Sequence[str],
    digests: Sequence[str],
    files: Sequence[str],
    columns: Sequence[str],
    source: SuiteSource,
) -> list[str]:
    """Raise LeakError, or return what is to be said beside every number."""
    one, key = ("fold", "folds") if source.folds else ("split", "split_by")
    splits = folds if source.folds else [entry.split for entry in entries]
    if shared := _in_several(splits, digests):
        names = [str(entry.audio) for digest, entry in zip(digests, entries, strict=True) if digest == shared[0]]
        raise LeakError(f"{len(shared)} recordings are in more than one {one}, e.g. {', '.join(names[:3])}")
    notes = []
    if shared := _in_several(splits, files):
        name = _file(entries[files.index(shared[0])])
        what = f"{len(shared)} audio files have spans in more than one {one}, e.g. {name}"
        notes.append(_allowed(what, f"keep the spans of a file in one {one}", source))
    for column in columns:
        values = [None if (v := value_of(entry, column)) is None else str(v) for entry in entries]
        if shared := _in_several(splits, values):
            what = f"{len(shared)} of the column {column!r} are in more than one {one}, e.g. {', '.join(shared[:3])}"
            notes.append(_allowed(what, f"split by it ({key}: {column})", source))
    return notes


def _allowed(what: str, way: str, source: SuiteSource) -> str:
    """The note that a source with a reason gets for what its splits share; LeakError for others."""
    if not source.shared:
        raise LeakError(f"{what}; {way}, or, where the published protocol has it so, say why (shared: ...)")
    return f"{what} ({source.shared})"


def _in_several(splits: Sequence[str], values: Sequence[str | None]) -> list[str]:
    """The values that clips of more than one split have."""
    homes: dict[str, set[str]] = defaultdict(set)
    for split, value in zip(splits, values, strict=True):
        if value is not None:
            homes[value].add(split)
    return sorted(value for value, found in homes.items() if len(found) > 1)
