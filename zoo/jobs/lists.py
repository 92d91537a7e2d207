"""Files that list recordings.

    list.jsonl               one JSON object a line, for example a manifest of zoo or of NeMo
    table.csv .tsv .parquet  one row a recording
    list.txt                 one path a line

`zoo.data.tables` lists the names of columns and JSON fields: audio, and optionally start, end and duration.
Relative paths are relative to the folder of the list. Times are in seconds.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zoo.data import rows, tables
from zoo.data.rows import TABLE_SUFFIXES
from zoo.errors import ManifestError
from zoo.io.text import shorten

MANIFEST_SUFFIX = ".jsonl"
TEXT_SUFFIX = ".txt"
LIST_SUFFIXES = (MANIFEST_SUFFIX, *TABLE_SUFFIXES, TEXT_SUFFIX)

Label = str | int | float | bool | None


class Item(NamedTuple):
    """One item to process: a file, or its span from `start` to `end` in seconds (None: start or end of the file).

    labels: values of other columns of its list, if `read` was asked for them.
    """

    path: str
    start: float | None = None
    end: float | None = None
    labels: tuple[Label, ...] = ()

    @property
    def span(self) -> Item:
        """The item without labels."""
        return Item(self.path, self.start, self.end)


def is_list(path: str) -> bool:
    """Whether this file name is that of a list and not of a recording."""
    return path.lower().endswith(LIST_SUFFIXES)


def read(path: str, keep_columns: Sequence[str] = ()) -> Iterator[Item]:
    """The items of a list. Rows without audio are skipped with a warning, as when recipes read the table.

    keep_columns: names of columns or JSON fields; their values are the `labels` of the items, None where missing.
    A column of a .csv or .tsv becomes numbers if all its values are.
    Raises ManifestError or ConfigError, with the line or row, if it cannot be read.
    """
    file = Path(path).absolute()
    suffix = file.suffix.lower()
    if suffix == TEXT_SUFFIX:
        yield from (Item(str(file.parent / line)) for line in split_paths(_content(file)))
    elif suffix in TABLE_SUFFIXES:
        numbered: Iterable[tuple[int, dict[str, Any]]] = rows.read(file, tables.ALIASES["audio"])
        if keep_columns and suffix != ".parquet":
            numbered = rows.with_numbers(list(numbered), keep_columns)
        yield from _items(numbered, file, keep_columns)
    else:
        yield from _items(_objects(file), file, keep_columns)


def split_paths(content: bytes) -> list[str]:
    """Split into paths, one a line, in the encoding of the file system."""
    lines = os.fsdecode(content.removeprefix(b"\xef\xbb\xbf")).split("\n")
    return [path for line in lines if (path := line.removesuffix("\r")).strip()]


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ManifestError(f"{file}: cannot be read ({error.strerror or error})") from error


def _objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number and the JSON object of each line."""
    for number, line in enumerate(_content(file).removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{where}: not a JSON object ({error})") from None
        if not isinstance(record, dict):
            raise ManifestError(f"{where}: expected a JSON object, not a {type(record).__name__}")
        rows.require_audio_column(record, tables.ALIASES["audio"], where)
        yield number, record


def _items(records: Iterable[tuple[int, dict[str, Any]]], file: Path, keep_columns: Sequence[str]) -> Iterator[Item]:
    skipped = 0
    for number, record in records:
        audio = tables.cell(record, "audio")
        if audio is None:
            skipped += 1
        else:
            where = f"{file}:{number}"
            labels = tuple(_label(record.get(name), name, where) for name in keep_columns)
            yield _item(record, audio, file, where)._replace(labels=labels)
    if skipped:
        warnings.warn(f"{file}: {skipped} rows have no audio and are skipped", stacklevel=2)


def _item(record: dict[str, Any], audio: object, file: Path, where: str) -> Item:
    """With a start and a duration but no end, the end is start + duration."""
    path = tables.check_path(audio, where)
    start, end, duration = (
        tables.seconds(tables.cell(record, name), name, where) for name in ("start", "end", "duration")
    )
    if end is None and start is not None and duration is not None:
        end = start + duration
    if end is not None and not (start or 0.0) < end < math.inf:
        raise ManifestError(f"{where}: field 'end': {end:g} s is not after the start, {start or 0.0:g} s")
    return Item(str(file.parent / path), start, end)


def _label(value: Any, name: str, where: str) -> Label:
    """The value of a column as a label. None for an empty cell or NaN, which tables use for missing values."""
    if tables.is_empty(value):
        return None
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return ", ".join(value)
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ManifestError(f"{where}: column {name!r}: expected text, a number or true/false, not {shorten(value)}")
