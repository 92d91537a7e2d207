"""Rows of .csv, .tsv and .parquet tables, column -> value. Audio inside a table becomes files in the cache."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import ManifestError
from zoo.io.atomic import replacing_file
from zoo.io.cache import cache_folder

BATCH = 64  # rows of a .parquet that are in memory at once


def read(path: Path, audio: Collection[str]) -> Iterator[dict[str, Any]]:
    """The rows of a table. Raises ManifestError for a file that is none.

    audio: columns in which a .parquet may hold {bytes, path}, as Hugging Face writes them; the bytes become files once.

    Quotation marks enclose the cells of a .tsv only if every one is closed at its cell's end and no row is lost by it:
    many such files were written without quoting, and a sentence that begins with a mark would swallow the next rows.
    """
    folder = None
    for number, row in enumerate(_rows(path)):
        for column in audio:
            if isinstance(value := row.get(column), Mapping) and "bytes" in value:
                folder = folder or _cache(path)
                row[column] = as_file(value, folder / column / f"{number:08d}")
        yield row


def as_file(value: Mapping[str, Any] | None, target: Path) -> str | None:
    """The path of a clip {bytes, path}: its bytes, where it has some, are written to `target`. None for no audio."""
    known = (value or {}).get("path") or ""
    if value is None or value.get("bytes") is None:
        return known or None
    target = target.with_suffix(Path(known).suffix or ".audio")
    if not target.is_file():
        with replacing_file(target) as partial:
            partial.write_bytes(value["bytes"])
    return str(target.absolute())


def _cache(path: Path) -> Path:
    """Where the clips inside the table are kept; another folder once the table has changed."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    marks = [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return cache_folder("datasets", hashlib.sha256(repr(marks).encode()).hexdigest()[:16])


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            yield from _parquet(path)
            return
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = file.readlines()
        if path.suffix == ".csv":
            reader = csv.DictReader(lines, skipinitialspace=True, strict=True)
        elif _quoted(lines):
            reader = csv.DictReader(lines, delimiter="\t")
        else:
            reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        for row in reader:
            if any(row.pop(None, ())):  # what DictReader calls the cells behind the last column
                raise ManifestError(
                    f"{path}:{reader.line_num}: more cells than the {len(reader.fieldnames or ())} columns; "
                    "a text with the separator in it goes between quotation marks"
                )
            yield row
    except csv.Error as error:
        raise ManifestError(
            f"{path}:{reader.line_num + 1}: cannot be read as a table ({error}); a quotation mark at the beginning of "
            "a cell has another one at its end, and those between are doubled"
        ) from None
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path}: cannot be read as a table ({error})") from None


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    """A few rows at a time, as they may hold audio."""
    import pyarrow.dataset

    partitioning = "hive" if path.is_dir() else None  # the folders above a file are no columns of it
    table = pyarrow.dataset.dataset(path, format="parquet", partitioning=partitioning)
    for batch in table.to_batches(batch_size=BATCH, batch_readahead=1, fragment_readahead=1):
        yield from batch.to_pylist()


def _quoted(lines: Sequence[str]) -> bool:
    """Whether a .tsv is better read with quotation marks around cells than with marks that stand for themselves."""
    try:
        rows = list(csv.reader(lines, delimiter="\t", strict=True))
    except csv.Error:  # text after a closing mark, or a mark that is never closed
        return False
    if not any("\n" in cell or "\r" in cell for row in rows for cell in row):
        return True
    return _even(rows) and not _even(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def _even(rows: Iterable[list[str]]) -> bool:
    return len({len(row) for row in rows if row}) == 1
