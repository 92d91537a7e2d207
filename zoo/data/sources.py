"""Open a source of audio as a list of entries.

    data/manifest.jsonl     a manifest (zoo.data.manifest)
    recordings/             all audio files in a folder and its subfolders, or its manifest.jsonl
    table.csv .tsv .parquet one row per clip; columns with known names become fields, all others labels
    hf:owner/name[@revision][:config]  a Hugging Face data set with an audio column, or hf:FOLDER saved by `datasets`
    corpus:speech/small     a generated corpus, made on first use

`Source` says which of its clips are used. Several sources have a short form: A + B [speaker=ann|bob].

The first part of its name decides the split: train.clean.100 is train, dev-other is dev. Rows of tables and Hugging
Face data sets in other splits are skipped with a warning. If a source has no splits, one in twenty speakers (or files,
if there are no speakers) becomes "dev", chosen by a hash of the name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from zoo.audio.files import find_media
from zoo.data import manifest, tables
from zoo.data.manifest import SPLITS, Entry
from zoo.data.rows import TABLE_SUFFIXES
from zoo.errors import ConfigError
from zoo.validation import check_range

SCHEMES = {"corpus": "zoo.corpora.source:read", "hf": "zoo.data.huggingface:read"}
"""Prefix of a source, before the colon -> "module:function" of its reader, imported on first use."""
_FILTERED = re.compile(r"(?P<source>.+?)\s*\[(?P<only>[^\[\]]*=[^\[\]]*)\]")  # a source with "column=value|value"
_SEPARATOR = re.compile(r"[\s,]+(?=[^\s=|,]+=)")  # between "column=value|value" and the next; values may have spaces


@dataclass
class Source:
    """Clips, and which of them to use."""

    path: str = ""  # manifest .jsonl, folder, .csv/.tsv/.parquet, hf:owner/name, corpus:KIND/SIZE
    where: dict[str, Any] = field(default_factory=dict)  # column: value or list of values; other clips are left out
    repeat: int = 1  # how many times each training clip is used in an epoch; clips of dev and test are used once
    split: str | None = None  # only clips of this split; null: of all
    limit: int | None = None  # clips of each split at most, chosen by a hash of their names
    columns: dict[str, str] = field(default_factory=dict)  # field: column, for tables with other column names

    def __post_init__(self) -> None:
        check_range("repeat", self.repeat, 1)
        check_range("limit", self.limit, 0)
        if self.split is not None and self.split not in SPLITS:
            raise ConfigError(f"source {self.path}: split {self.split!r}: choose {', '.join(SPLITS)}")

    def __str__(self) -> str:
        """The short form. repeat, split and limit are shown as columns; `parse` does not read them so."""
        shown = dict(self.where)
        others = {"split": self.split, "limit": self.limit, "repeat": self.repeat if self.repeat > 1 else None}
        shown |= {name: value for name, value in others.items() if value is not None}
        filters = " ".join(f"{column}={'|'.join(_texts(value))}" for column, value in shown.items())
        return f"{self.path} [{filters}]" if filters else self.path


Sources = str | Path | Source | Sequence[Source]
"""Sources, or their short form."""


def parse(sources: Sources) -> list[Source]:
    """The sources that a short form stands for. Sources stay as they are. An existing file or folder is no short form.

    Raises ConfigError for brackets without column=value.
    """
    if isinstance(sources, Source):
        return [sources]
    if not isinstance(sources, str | Path):
        return list(sources)
    name = str(sources).strip()
    if Path(name).expanduser().exists():
        return [Source(name)]
    parsed = []
    for part in name.split(" + "):
        path, filtered = part.strip(), _FILTERED.fullmatch(part.strip())
        if filtered is None or Path(path).expanduser().exists():
            parsed.append(Source(path))
        else:
            parsed.append(Source(filtered["source"], _parse_where(filtered["only"], name)))
    return parsed


def _parse_where(text: str, source: str) -> dict[str, Any]:
    """Column -> value, or list of values."""
    where: dict[str, Any] = {}
    for part in filter(None, _SEPARATOR.split(text.strip(" ,"))):
        column, equals, values = part.partition("=")
        if not equals:
            raise ConfigError(f"{source}: expected column=value|value in brackets, not {part!r}")
        accepted = [value.strip() for value in values.split("|")]
        where[column.strip()] = accepted if len(accepted) > 1 else accepted[0]
    return where


def text_of(sources: Sequence[Source]) -> str:
    """The sources as one line, for messages."""
    return " + ".join(map(str, sources))


def open(sources: Sources, columns: Mapping[str, str] | None = None) -> list[Entry]:
    """The entries of the sources, one source after the other.

    columns: field -> column, for tables and data sets with other column names than usual; in addition to theirs.

    Audio with an unreadable header and rows without audio are skipped, with one warning for each kind.
    Raises ConfigError for an unknown kind of source, a missing column, a value that no clip has, and clips that two
    sources with the same path choose; ManifestError, naming the row, for wrong values; MissingDependencyError if a
    package is needed.
    """
    entries: list[Entry] = []
    chosen: dict[str, set[Any]] = {}  # clips of each path
    for source in parse(sources):
        opened = _open(source, source.columns | dict(columns or {}))
        clips = {(entry.audio, entry.start, entry.end) for entry in opened}
        earlier = chosen.setdefault(source.path, set())
        if both := clips & earlier:
            raise ConfigError(
                f"{source.path}: {len(both)} clips are chosen by two sources; name them once. For more weight in "
                f"training, use repeat: sources=[{{path: {source.path}, repeat: 2}}]"
            )
        earlier |= clips
        entries += opened
    return entries


def _open(source: Source, columns: dict[str, str]) -> list[Entry]:
    """The chosen entries of one source."""
    entries = select(_read(source.path, columns or None), source.where, str(source))
    if source.split is not None:
        entries = select(entries, {"split": source.split}, str(source))
    if source.limit is not None:
        entries = limited(entries, dict.fromkeys(SPLITS, source.limit))
    train = [entry for entry in entries if entry.split == "train"]
    for _ in range(source.repeat - 1):
        entries = [*entries, *map(replace, train)]
    return entries


def _read(name: str, columns: Mapping[str, str] | None) -> list[Entry]:
    """All entries behind a path."""
    path = Path(name).expanduser()
    scheme, colon, rest = name.partition(":")
    if colon and scheme in SCHEMES:
        module, _, function = SCHEMES[scheme].partition(":")
        return getattr(import_module(module), function)(rest, columns)
    if path.suffix.lower() == ".jsonl":
        return manifest.read(path)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return tables.read(path, columns)
    if path.is_dir():
        return manifest.read(path / "manifest.jsonl") if (path / "manifest.jsonl").is_file() else _folder(path)
    raise ConfigError(
        f"source {name!r}: no such folder or file; use a manifest .jsonl, a folder of audio, a .csv, .tsv or .parquet "
        "table, hf:owner/name, or corpus:speech/small"
    )


def _folder(path: Path) -> list[Entry]:
    """Files below `path`. If the first subfolder has the name of a split, it is the split; the next one is a label."""
    rows = []
    files = find_media(str(path))
    if not files:
        raise ConfigError(f"source {path}: no audio files in this folder")
    for number, file in enumerate(files, 1):
        parts = Path(file).relative_to(path).parts[:-1]
        row: dict[str, Any] = {"audio": str(Path(file).absolute())}
        if parts and tables.split_named(parts[0]):
            row["split"], parts = parts[0], parts[1:]
        rows.append((number, row | ({"folder": parts[0]} if parts else {})))
    return tables.from_records(rows, path / "*")


def whole(sources: Sources) -> list[Source]:
    """The sources with all their clips, each path once."""
    return [Source(path, columns=each.columns) for path, each in {each.path: each for each in parse(sources)}.items()]


def select(entries: Sequence[Entry], where: Mapping[str, Any], source: str) -> list[Entry]:
    """Entries that have one of the values in each column. Raises ConfigError if there are none."""
    selected = list(entries)
    for column, values in where.items():
        accepted = set(_texts(values))
        selected = [entry for entry in selected if accepted & _spellings(entry, column)]
        if not selected:
            raise ConfigError(
                f"{source}: no clip has {column}={'|'.join(_texts(values))}; change or remove this filter"
            )
    return selected


def limited(entries: Sequence[Entry], limit: Mapping[str, int]) -> list[Entry]:
    """At most limit[split] clips of each split: those with the smallest hash of the name, in the order of `entries`."""
    selected: set[int] = set()
    for split in SPLITS:
        indices = [index for index, entry in enumerate(entries) if entry.split == split]
        indices.sort(key=lambda index: _hash_of_name(entries[index]))
        selected.update(indices[: limit.get(split, len(indices))])
    return [entry for index, entry in enumerate(entries) if index in selected]


def _hash_of_name(entry: Entry) -> bytes:
    return hashlib.sha256(entry.audio.name.encode(errors="surrogateescape")).digest()


def _texts(value: Any) -> list[str]:
    """A value, or each of a list, as text."""
    return [str(each) for each in (value if isinstance(value, list | tuple) else [value])]


def _spellings(entry: Entry, name: str) -> set[str]:
    """The ways to write the value of a column: true and false also as in JSON."""
    value = getattr(entry, name) if name in ("speaker", "lang", "split") else entry.labels.get(name)
    return {str(value), str(value).lower()} if isinstance(value, bool) else {str(value)}
