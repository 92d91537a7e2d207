"""Files that list recordings.

    list.jsonl               one JSON object a line: audio, optional start and end; for example a manifest
    table.csv .tsv .parquet  one row a recording; `zoo.data.tables` lists the column names
    list.txt                 one path a line

Relative paths are relative to the folder of the list. Times are in seconds.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from zoo.data import rows
from zoo.data.tables import ALIASES
from zoo.errors import ManifestError

MANIFEST_SUFFIX = ".jsonl"
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
TEXT_SUFFIX = ".txt"


class Item(NamedTuple):
    """One item to process: a file, or its span from `start` to `end` in seconds (None: start or end of the file)."""

    path: str
    start: float | None = None
    end: float | None = None


def is_list(path: str) -> bool:
    """Whether this file name is that of a list and not of a recording."""
    return path.endswith((MANIFEST_SUFFIX, *TABLE_SUFFIXES, TEXT_SUFFIX))


def read(path: str) -> Iterator[Item]:
    """The items of a list. Raises ManifestError, with the line or row, if it cannot be read."""
    file = Path(path).absolute()
    if path.endswith(TABLE_SUFFIXES):
        yield from _table(file)
        return
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror or error})") from error
    if path.endswith(TEXT_SUFFIX):
        yield from (Item(str(file.parent / line)) for line in split_paths(content))
    else:
        yield from _objects(content, file)


def split_paths(content: bytes) -> list[str]:
    """Split into paths, one a line, in the encoding of the file system."""
    lines = os.fsdecode(content.removeprefix(b"\xef\xbb\xbf")).split("\n")
    return [path for line in lines if (path := line.removesuffix("\r")).strip()]


def _objects(content: bytes, file: Path) -> Iterator[Item]:
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{where}: not a JSON object ({error})") from None
        if not isinstance(record, dict):
            raise ManifestError(f"{where}: expected a JSON object, not a {type(record).__name__}")
        yield _item(record, record.get("audio"), file, where)


def _table(file: Path) -> Iterator[Item]:
    """Rows without audio are skipped with a warning, as when recipes read the table."""
    skipped = 0
    for number, row in enumerate(rows.read(file, ALIASES["audio"]), 2 if file.suffix != ".parquet" else 1):
        where = f"{file}:{number}"
        if not row.keys() & set(ALIASES["audio"]):
            raise ManifestError(f"{where}: no audio column among {', '.join(map(str, row))}; name that column 'audio'")
        audio = next((row[name] for name in ALIASES["audio"] if row.get(name)), None)
        if audio is None:
            skipped += 1
        else:
            yield _item(row, audio, file, where)
    if skipped:
        warnings.warn(f"{file}: {skipped} rows have no audio and are skipped", stacklevel=2)


def _item(record: Mapping[str, Any], audio: object, file: Path, where: str) -> Item:
    """With a start and a duration but no end, the end is start + duration."""
    if not isinstance(audio, str) or not audio:
        raise ManifestError(f"{where}: field 'audio': expected a path, not {audio!r}")
    start, end, duration = (_seconds(record.get(name), name, where) for name in ("start", "end", "duration"))
    if end is None and start is not None and duration is not None:
        end = start + duration
    if end is not None and end <= (start or 0.0):
        raise ManifestError(f"{where}: field 'end': {end:g} s is not after the start, {start or 0.0:g} s")
    return Item(str(file.parent / audio), start, end)


def _seconds(value: Any, name: str, where: str) -> float | None:
    """The value in seconds. None for an empty cell or NaN, which tables use for missing values."""
    if value is None or value == "":
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if math.isnan(seconds):
        return None
    if not 0 <= seconds < math.inf:
        raise ManifestError(f"{where}: field {name!r}: expected seconds >= 0, not {value!r}")
    return seconds
