"""Whatever holds audio becomes a list of entries.

    data/manifest.jsonl     a manifest (zoo.data.manifest)
    recordings/             every audio file below a folder, or the folder's own manifest.jsonl
    table.csv .tsv .parquet one row a clip; known columns become fields, all others labels
    hf:owner/name[:config]  a Hugging Face data set with an audio column, or hf:FOLDER saved by `datasets`
    corpus:speech/small     an embedded corpus, made on first use
    A + B [speaker=ann|bob] several of these in a row, any of them with a choice of its clips in brackets

A split goes by the first part of its name: train.clean.100 is train, dev-other is dev; rows of tables and Hugging Face
sets with other splits are left out with a warning. Where nothing tells the splits, one in twenty speakers (or files,
where no speakers are known) becomes "dev", chosen by a hash of its name.
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
from zoo.errors import ConfigError

SCHEMES = {"corpus": "zoo.corpora.source:read", "hf": "zoo.data.huggingface:read"}
"""What stands before the colon of a source -> "module:function" of its reader, imported on first use."""
_CHOSEN = re.compile(r"(?P<source>.+?)\s*\[(?P<only>[^\[\]]*=[^\[\]]*)\]")  # a source with "column=value|value"
_CHOICES = re.compile(r"[\s,]+(?=[^\s=|,]+=)")  # between "column=value|value" and the next; values may have spaces


def open(source: str | Path, columns: Mapping[str, str] | None = None) -> list[Entry]:
    """The entries of a source, as the module's docstring lists them; of several, one after the other.

    columns: field -> column, for tables and data sets whose columns have other names than usual.

    Audio whose header cannot be read and rows without audio are left out with one warning for each kind.
    Raises ConfigError for a source of no known kind or a column that is not there, ManifestError naming the row for
    values that do not fit, MissingDependencyError where a package is needed.
    """
    name = str(source).strip()
    path = Path(name).expanduser()
    if not path.exists():
        parts = name.split(" + ")
        if len(parts) > 1:
            return [entry for part in parts for entry in open(part, columns)]
        if (chosen := _CHOSEN.fullmatch(name)) is not None:
            return select(open(chosen["source"], columns), chosen["only"], name)
    scheme, colon, rest = name.partition(":")
    if colon and scheme in SCHEMES:
        module, _, function = SCHEMES[scheme].partition(":")
        return getattr(import_module(module), function)(rest, columns)
    if path.suffix == ".jsonl":
        return manifest.read(path)
    if path.suffix in (".csv", ".tsv", ".parquet"):
        return tables.read(path, columns)
    if path.is_dir():
        return manifest.read(path / "manifest.jsonl") if (path / "manifest.jsonl").is_file() else _folder(path)
    raise ConfigError(
        f"source {name!r}: no such folder or file; give a manifest .jsonl, a folder of audio, a .csv, .tsv or .parquet "
        "table, hf:owner/name, or corpus:speech/small"
    )


def _folder(path: Path) -> list[Entry]:
    """Files below `path`; the first subfolder is the split if it is named like one, the next one a label."""
    rows = []
    files = find_media(str(path))
    if not files:
        raise ConfigError(f"source {path}: no audio found in this folder")
    for number, file in enumerate(files, 1):
        parts = Path(file).relative_to(path).parts[:-1]
        row: dict[str, Any] = {"audio": str(Path(file).absolute())}
        if parts and tables.split_named(parts[0]):
            row["split"], parts = parts[0], parts[1:]
        rows.append((number, row | ({"folder": parts[0]} if parts else {})))
    return tables.from_records(rows, path / "*")


def whole(source: str | Path) -> str:
    """The source without its choices in brackets: it holds what they leave out, too."""
    name = str(source).strip()
    if Path(name).expanduser().exists():
        return name
    parts = name.split(" + ")
    return " + ".join(chosen["source"] if (chosen := _CHOSEN.fullmatch(part.strip())) else part for part in parts)


def select(entries: Sequence[Entry], only: str, source: str) -> list[Entry]:
    """Entries that have one of the values of every "column=value|value" in `only`. Raises ConfigError for none."""
    chosen = list(entries)
    for part in filter(None, _CHOICES.split(only.strip(" ,"))):
        column, equals, values = part.partition("=")
        if not equals:
            raise ConfigError(f"{source}: column=value|value is expected in brackets, not {part!r}")
        wanted = {value.strip() for value in values.split("|")}
        chosen = [entry for entry in chosen if wanted & _spellings(entry, column.strip())]
        if not chosen:
            raise ConfigError(f"{source}: no clip has {part}; change the choice in brackets, or leave it out")
    return chosen


def _spellings(entry: Entry, name: str) -> set[str]:
    """How the value of a column may be written: true and false also as in JSON."""
    value = getattr(entry, name) if name in ("speaker", "lang", "split") else entry.labels.get(name)
    return {str(value), str(value).lower()} if isinstance(value, bool) else {str(value)}
