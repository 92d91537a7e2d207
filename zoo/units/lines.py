"""Make the lines of a units file, and read them back.

`zoo.units.writing` shows the format. Each line also has the settings and the facts about its audio file, so no other
file is needed to resume a run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from zoo.cluster.quantizer import Quantizer
from zoo.errors import ZooError
from zoo.io.text import printable, shorten
from zoo.jobs.lists import Item
from zoo.jobs.survey import Planned, file_stamp

Line = dict[str, Any]


class StoredLine(NamedTuple):
    """The position of an item's line in a file. current: the audio file has not changed since; failed: no units."""

    item_index: int
    file: BinaryIO
    offset: int
    current: bool
    failed: bool

    def read(self) -> bytes:
        self.file.seek(self.offset)
        return self.file.readline()


class LineSettings(NamedTuple):
    """What all lines of a file have in common."""

    quantizer: str
    dedup: bool
    dtype: str


class LineReader:
    """Reads files whose lines must match the items and settings of a run.

    prune: lines of other items are skipped, which is otherwise an error.
    """

    def __init__(self, items: Sequence[Item], settings: LineSettings, prune: bool = False) -> None:
        self.settings, self.prune = settings, prune
        self._stamps = [_stamp(item.path) for item in items]
        self._indices = {_key(_head(item)): index for index, item in enumerate(items)}

    def read_finished(self, file: BinaryIO) -> list[StoredLine]:
        """The lines of a finished file, in order. New items have no line yet.

        Raises ZooError for a line of an unknown item, a second line of the same item, or a line with other settings.
        """
        path = Path(file.name)
        lines = list(self._read(file, path))
        seen: set[int] = set()
        for number, line in enumerate(lines, 1):
            if line.item_index in seen:
                raise _line_error(path, number, "a second line of the same item")
            seen.add(line.item_index)
        return lines

    def read_part(self, file: BinaryIO) -> list[StoredLine]:
        """The lines of a shard, after its notes. Raises ZooError for a line of an unknown item."""
        return list(self._read(file, Path(file.name), skip=1))

    def _read(self, file: BinaryIO, path: Path, skip: int = 0) -> Iterator[StoredLine]:
        offset = 0
        for number, text in enumerate(file, 1):
            start, offset = offset, offset + len(text)
            if text == b"\n" or number <= skip:
                continue
            try:
                line = json.loads(text)
                index = self._indices.get(_key(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                raise _line_error(path, number, "damaged") from None
            if index is None and self.prune:
                continue
            if index is None:
                raise _line_error(path, number, f"{shorten(line['path'])} is not among the inputs")
            self._check(line, path, number)
            # If the audio file was deleted since, its units are kept.
            current = "dtype" in line and self._stamps[index] in (None, line.get("file"))
            yield StoredLine(index, file, start, current, "error" in line)

    def _check(self, line: Line, path: Path, number: int) -> None:
        before: Line = {name: line[name] for name in ("quantizer", "dtype") if name in line}
        if "units" in line:
            before["dedup"] = "counts" in line
        now = self.settings._asdict()
        changed = [f"{name} {value!r} (now {now[name]!r})" for name, value in before.items() if value != now[name]]
        if changed:
            raise ZooError(
                f"{path}, line {number}: made with other settings: {', '.join(changed)}; use the same settings, "
                "choose another file, or remove this one"
            )


def make_line(item: Planned, quantizer: Quantizer, settings: LineSettings, units: Tensor) -> Line:
    """The line of an item with units (T, C)."""
    counts: list[int] | None = None
    if settings.dedup:
        units, runs = torch.unique_consecutive(units, dim=0, return_counts=True)
        counts = runs.tolist()
    values = units[:, 0] if units.shape[1] == 1 else units
    line = {**_head(item.item), "quantizer": settings.quantizer, "units": values.tolist(), "rate": quantizer.rate}
    return line | ({"counts": counts} if settings.dedup else {}) | _origin(item, settings)


def make_error_line(item: Planned, settings: LineSettings, reason: str) -> Line:
    """The line of an item that has no units."""
    line = {**_head(item.item), "quantizer": settings.quantizer, "error": printable(reason)}
    return line | _origin(item, settings)


def _origin(item: Planned, settings: LineSettings) -> Line:
    file = None if item.size is None else [item.size, item.mtime_ns]
    return {"dtype": settings.dtype, "file": file}


def _head(item: Item) -> Line:
    span = {"start": item.start, "end": item.end}
    given = {name: value for name, value in span.items() if value is not None}
    return {"path": printable(item.path), **given}


def _key(line: Line) -> tuple[object, ...]:
    return line["path"], line.get("start"), line.get("end")


def _stamp(path: str) -> list[int] | None:
    """Size and modification time of a file; None if it is missing."""
    try:
        return list(file_stamp(path))
    except OSError:
        return None


def _line_error(path: Path, number: int, reason: str) -> ZooError:
    return ZooError(
        f"{path}, line {number}: {reason}. Give the same inputs, choose another file, remove this one, or, to remove "
        "only the lines of other items, use --prune (in Python prune=True)"
    )
