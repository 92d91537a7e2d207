"""Rows of .csv, .tsv and .parquet tables, column -> value. Audio inside a table is written to files in the cache.

The cells of a .csv are separated by commas, semicolons (as many spreadsheet programs write them) or tabs.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.audio.files import SUFFIXES
from zoo.errors import ConfigError, ManifestError, ZooError
from zoo.io.atomic import replacing_file
from zoo.io.cache import cache_folder
from zoo.io.text import quote_names, shorten

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
BATCH = 64  # rows of a .parquet in memory at once
_SEPARATORS = (",", ";", "\t")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")  # fits into int64; "007" stays text, because it may be a name
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")


def read(path: Path, audio: Collection[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a table with their numbers (in a .csv and .tsv, line numbers if no cell has a line break).

    audio: names of columns with audio; the table must have one of them. In a .parquet they may have bytes, or
    {bytes, path} as Hugging Face writes them; the bytes are written to files once.
    Raises ManifestError for a file that is not a table, ConfigError if it has no audio column.

    Quotation marks in a .tsv enclose cells only if each is closed at the end of its cell, and no row is lost that way.
    Many such files were written without quoting: a sentence that starts with a quotation mark would otherwise swallow
    the next rows.
    """
    folder = None
    for index, row in enumerate(_rows(path, audio)):
        for column in audio:
            value = row.get(column)
            if isinstance(value, bytes):
                value = {"bytes": value}
            if isinstance(value, Mapping) and "bytes" in value:
                folder = folder or _cache(path)
                row[column] = as_file(value, folder / column / f"{index:08d}")
        yield index + (1 if path.suffix.lower() == ".parquet" else 2), row


def with_numbers(
    numbered: Sequence[tuple[int, dict[str, Any]]], columns: Collection[str]
) -> list[tuple[int, dict[str, Any]]]:
    """The rows of a .csv or .tsv; each of `columns` becomes integers, or else floats, if all its cells can.

    Empty cells do not count. A column with any other cell stays text.
    """
    converters: dict[str, type[int] | type[float]] = {}
    for column in columns:
        cells = [row[column] for _, row in numbered if row.get(column)]
        if all(_INTEGER.fullmatch(cell) for cell in cells):
            converters[column] = int
        elif all(_FLOAT.fullmatch(cell) for cell in cells):
            converters[column] = float
    converted = []
    for number, row in numbered:
        numbers = {column: convert(row[column]) for column, convert in converters.items() if row.get(column)}
        converted.append((number, row | numbers))
    return converted


def require_audio_column(columns: Collection[str], audio: Collection[str], where: object) -> None:
    """Raise ConfigError, starting with `where`, unless one of `columns` is among the names in `audio`."""
    if set(columns) & set(audio):
        return
    if not columns:
        raise ConfigError(f"{where}: is empty; a table needs a line with the names of the columns")
    recording = next((name for name in columns if Path(name).suffix.lower() in SUFFIXES), None)
    if recording is not None:
        raise ConfigError(
            f"{where}: the first line has {shorten(recording)} where the names of the columns are expected; put a line "
            "such as `audio,text` before it"
        )
    raise ConfigError(
        f"{where}: no audio column among {quote_names(columns)}; name that column 'audio', or, in a recipe or "
        "benchmark, choose one in columns"
    )


def as_file(value: Mapping[str, Any] | None, target: Path) -> str | None:
    """The path of a clip {bytes, path}. If it has bytes, they are written to `target`. None if there is no audio."""
    path = (value or {}).get("path") or ""
    if value is None or value.get("bytes") is None:
        return path or None
    suffix = Path(path).suffix
    target = target.with_suffix(suffix if _SUFFIX.fullmatch(suffix) else ".audio")
    if not target.is_file():
        with replacing_file(target) as partial:
            partial.write_bytes(value["bytes"])
    return str(target.absolute())


def _cache(path: Path) -> Path:
    """The cache folder for the clips inside a table. A changed table gets another folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    marks = [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return cache_folder("datasets", hashlib.sha256(repr(marks).encode()).hexdigest()[:16])


def _rows(path: Path, audio: Collection[str]) -> Iterator[dict[str, Any]]:
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            yield from _parquet(path, audio)
            return
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = file.readlines()
        if suffix == ".csv":
            separator = _separator(lines, audio)
            reader = csv.DictReader(lines, delimiter=separator, skipinitialspace=True, strict=True)
        elif _quoted(lines):
            reader = csv.DictReader(lines, delimiter="\t")
        else:
            reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        require_audio_column(reader.fieldnames or (), audio, path)
        for row in reader:
            if any(row.pop(None, ())):  # DictReader stores the cells after the last column under None
                raise ManifestError(
                    f"{path}:{reader.line_num}: more cells than the {len(reader.fieldnames or ())} columns; "
                    "put text that contains the separator between quotation marks"
                )
            yield row
    except csv.Error as error:
        raise ManifestError(
            f"{path}:{reader.line_num + 1}: cannot be read as a table ({error}); a cell that starts with a quotation "
            "mark must end with one, and quotation marks inside it must be doubled"
        ) from None
    except FileNotFoundError:
        raise ManifestError(f"{path}: there is no such file; check the path of the table") from None
    except ZooError:
        raise
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path}: cannot be read as a table ({error})") from None


def _separator(lines: Sequence[str], audio: Collection[str]) -> str:
    """The first separator with which the first line has an audio column; a comma if there is none."""
    for separator in _SEPARATORS:
        for names in csv.reader(lines[:1], delimiter=separator, skipinitialspace=True):
            if set(names) & set(audio):
                return separator
    return ","


def _parquet(path: Path, audio: Collection[str]) -> Iterator[dict[str, Any]]:
    """A few rows at a time, because rows may contain audio."""
    import pyarrow.dataset

    partitioning = "hive" if path.is_dir() else None  # the folders above a single file are not columns
    table = pyarrow.dataset.dataset(path, format="parquet", partitioning=partitioning)
    require_audio_column(table.schema.names, audio, path)
    for batch in table.to_batches(batch_size=BATCH, batch_readahead=1, fragment_readahead=1):
        yield from batch.to_pylist()


def _quoted(lines: Sequence[str]) -> bool:
    """Whether quotation marks in a .tsv enclose cells, rather than being part of the text."""
    try:
        rows = list(csv.reader(lines, delimiter="\t", strict=True))
    except csv.Error:  # text after a closing mark, or no closing mark
        return False
    if not any("\n" in cell or "\r" in cell for row in rows for cell in row):
        return True
    return _even(rows) and not _even(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def _even(rows: Iterable[list[str]]) -> bool:
    return len({len(row) for row in rows if row}) == 1
