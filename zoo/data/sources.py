"""Open a source of audio as a list of entries.

    data/manifest.jsonl     a manifest (zoo.data.manifest)
    recordings/             all audio files in a folder and its subfolders, or its manifest.jsonl
    table.csv .tsv .parquet one row per clip; columns with known names become fields, all others labels
    hf:owner/name[@revision][:config]  a Hugging Face data set with an audio column, or hf:FOLDER saved by `datasets`
    corpus:speech/small     a generated corpus, made on first use
    A + B [speaker=ann|bob] several sources, each with an optional filter in brackets

The first part of its name decides the split: train.clean.100 is train, dev-other is dev. Rows of tables and Hugging
Face data sets in other splits are skipped with a warning. If a source has no splits, one in twenty speakers (or files,
if there are no speakers) becomes "dev", chosen by a hash of the name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from zoo.audio.files import find_media
from zoo.data import manifest, tables
from zoo.data.manifest import Entry
from zoo.data.rows import TABLE_SUFFIXES
from zoo.errors import ConfigError

SCHEMES = {"corpus": "zoo.corpora.source:read", "hf": "zoo.data.huggingface:read"}
"""Prefix of a source, before the colon -> "module:function" of its reader, imported on first use."""
_FILTERED = re.compile(r"(?P<source>.+?)\s*\[(?P<only>[^\[\]]*=[^\[\]]*)\]")  # a source with "column=value|value"
_SEPARATOR = re.compile(r"[\s,]+(?=[^\s=|,]+=)")  # between "column=value|value" and the next; values may have spaces


def open(source: str | Path, columns: Mapping[str, str] | None = None) -> list[Entry]:
    """The entries of a source (see the list above); of several sources, one after the other.

    columns: field -> column, for tables and data sets with other column names than usual.

    Audio with an unreadable header and rows without audio are skipped, with one warning for each kind.
    Raises ConfigError for an unknown kind of source or a missing column, ManifestError, naming the row, for wrong
    values, MissingDependencyError if a package is needed.
    """
    name = str(source).strip()
    path = Path(name).expanduser()
    if not path.exists():
        parts = name.split(" + ")
        if len(parts) > 1:
            return [entry for part in parts for entry in open(part, columns)]
        if (filtered := _FILTERED.fullmatch(name)) is not None:
            return select(open(filtered["source"], columns), filtered["only"], name)
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


def without_filters(source: str | Path) -> str:
    """The source without its filters in brackets, so with all its clips."""
    name = str(source).strip()
    if Path(name).expanduser().exists():
        return name
    parts = name.split(" + ")
    return " + ".join(match["source"] if (match := _FILTERED.fullmatch(part.strip())) else part for part in parts)


def select(entries: Sequence[Entry], only: str, source: str) -> list[Entry]:
    """Entries that match every "column=value|value" in `only`. Raises ConfigError if there are none."""
    selected = list(entries)
    for part in filter(None, _SEPARATOR.split(only.strip(" ,"))):
        column, equals, values = part.partition("=")
        if not equals:
            raise ConfigError(f"{source}: expected column=value|value in brackets, not {part!r}")
        accepted = {value.strip() for value in values.split("|")}
        selected = [entry for entry in selected if accepted & _spellings(entry, column.strip())]
        if not selected:
            raise ConfigError(f"{source}: no clip has {part}; change the filter in brackets, or remove it")
    return selected


def _spellings(entry: Entry, name: str) -> set[str]:
    """The ways to write the value of a column: true and false also as in JSON."""
    value = getattr(entry, name) if name in ("speaker", "lang", "split") else entry.labels.get(name)
    return {str(value), str(value).lower()} if isinstance(value, bool) else {str(value)}
