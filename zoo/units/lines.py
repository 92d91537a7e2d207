"""The lines of a units file: made of what was found, and read back as far as they still stand.

Besides what `zoo.units.writing` shows, each line says what it was made of, so that the file needs no other beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from zoo.cluster.quantizer import Quantizer
from zoo.errors import ZooError
from zoo.io.text import printable
from zoo.jobs.lists import Item

Line = dict[str, Any]


class StoredLine(NamedTuple):
    """Where the line of item number `place` stands. current: made of the file as it is now; failed: it has no units."""

    place: int
    file: BinaryIO
    offset: int
    current: bool
    failed: bool

    def read(self) -> bytes:
        self.file.seek(self.offset)
        return self.file.readline()


class UnitsRequest:
    """What every line has to agree with: the items, and the settings they are asked with."""

    def __init__(self, items: Sequence[Item], quantizer: Quantizer, dedup: bool, dtype: str) -> None:
        self.items, self.quantizer, self.dedup, self.dtype = items, quantizer, dedup, dtype
        # Before anything is decoded: a file that changes meanwhile is then noticed by the next run.
        self._stamps = [_stamp(item.path) for item in items]
        self._places = {_key(self._head(place)): place for place in range(len(items))}

    def line(self, place: int, units: Tensor | None, error: str | None) -> Line:
        """units (T, C) of an item, or the reason why there are none."""
        line = self._head(place) | {"quantizer": self.quantizer.fingerprint}
        made = {"dtype": self.dtype, "file": self._stamps[place]}
        if units is None:
            return line | {"error": printable(error or "too short")} | made
        counts: list[int] | None = None
        if self.dedup:
            units, runs = torch.unique_consecutive(units, dim=0, return_counts=True)
            counts = runs.tolist()
        values = units[:, 0] if units.shape[1] == 1 else units
        line |= {"units": values.tolist(), "rate": self.quantizer.rate}
        return line | ({"counts": counts} if self.dedup else {}) | made

    def whole(self, file: BinaryIO, path: Path) -> list[StoredLine]:
        """The lines of a finished file, in its order; items may have come along since.

        Raises ZooError for a line of another item, a second one of the same, or one made otherwise than it is asked.
        """
        lines = list(self._read(file, path))
        seen: set[int] = set()
        for number, held in enumerate(lines, 1):
            if held.place in seen:
                raise _line_error(path, number)
            seen.add(held.place)
        return lines

    def begun(self, file: BinaryIO, path: Path) -> list[StoredLine]:
        """The lines of a journal's finished blocks, behind each of which is an empty line; the rest is cut off.

        Raises ZooError for a line of other items, or made otherwise than they are asked.
        """
        size = 0
        file.seek(0)
        for text in file:
            if text == b"\n":
                size = file.tell()
        file.truncate(size)
        return list(self._read(file, path))

    def _read(self, file: BinaryIO, path: Path) -> Iterator[StoredLine]:
        file.seek(0)
        offset = 0
        for number, text in enumerate(file, 1):
            start, offset = offset, offset + len(text)
            if text == b"\n":
                continue
            try:
                line = json.loads(text)
                place = self._places[_key(line)]
            except (ValueError, KeyError, TypeError, AttributeError):
                raise _line_error(path, number) from None
            self._check(line, path, number)
            same = "dtype" in line and self._stamps[place] in (None, line.get("file"))  # gone since: units stay
            yield StoredLine(place, file, start, same, "error" in line)

    def _check(self, line: Line, path: Path, number: int) -> None:
        before: Line = {name: line[name] for name in ("quantizer", "dtype") if name in line}
        now: Line = {"quantizer": self.quantizer.fingerprint, "dtype": self.dtype}
        if "units" in line:
            before["dedup"], now["dedup"] = "counts" in line, self.dedup
        changed = [f"{name} {value!r} (now {now[name]!r})" for name, value in before.items() if value != now[name]]
        if changed:
            raise ZooError(
                f"{path}, line {number}: made with other settings: {', '.join(changed)}; repeat the former ones, "
                "choose another file, or remove it"
            )

    def _head(self, place: int) -> Line:
        item = self.items[place]
        span = {key: value for key in ("start", "end") if (value := getattr(item, key)) is not None}
        return {"path": printable(item.path), **span}


def _key(line: Line) -> tuple[object, ...]:
    return line["path"], line.get("start"), line.get("end")


def _stamp(path: str) -> list[int] | None:
    """Size and time of a file; None where it is gone."""
    try:
        status = os.stat(path)  # noqa: PTH116 (a million of these: no Path objects)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _line_error(path: Path, number: int) -> ZooError:
    return ZooError(
        f"{path}, line {number}: damaged, or not of these inputs; name the former ones, choose another file, or "
        "remove it"
    )
