"""Rows of .csv, .tsv and .parquet tables, column -> value."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import ManifestError


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table. Raises ManifestError for a file that is none.

    Quotation marks enclose the cells of a .tsv only if every one is closed at its cell's end and no row is lost by it:
    many such files were written without quoting, and a sentence that begins with a mark would swallow the next rows.
    """
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            yield from pyarrow.parquet.read_table(path).to_pylist()
            return
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = file.readlines()
        if path.suffix == ".csv":
            yield from csv.DictReader(lines)
        elif _quoted(lines):
            yield from csv.DictReader(lines, delimiter="\t")
        else:
            yield from csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    except (OSError, ValueError, csv.Error) as error:
        raise ManifestError(f"{path}: cannot be read as a table ({error})") from None


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
