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
from zoo.jobs.survey import file_stamp

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


class UnitsRequest:
    """The items and settings of a run. Every line of the file must match them.

    prune: lines of other items are skipped, which is otherwise an error.
    """

    def __init__(
        self, items: Sequence[Item], quantizer: Quantizer, dedup: bool, dtype: str, prune: bool = False
    ) -> None:
        self.items, self.quantizer, self.dedup, self.dtype, self.prune = items, quantizer, dedup, dtype, prune
        # Read before decoding, so that the next run notices a file that changes meanwhile.
        self._stamps = [_stamp(item.path) for item in items]
        self._indices = {_key(self._head(index)): index for index in range(len(items))}

    def line(self, index: int, units: Tensor | None, error: str | None) -> Line:
        """The line of an item. units (T, C), or None with the reason in `error`."""
        line = self._head(index) | {"quantizer": self.quantizer.fingerprint}
        origin = {"dtype": self.dtype, "file": self._stamps[index]}
        if units is None:
            return line | {"error": printable(error or "too short")} | origin
        counts: list[int] | None = None
        if self.dedup:
            units, runs = torch.unique_consecutive(units, dim=0, return_counts=True)
            counts = runs.tolist()
        values = units[:, 0] if units.shape[1] == 1 else units
        line |= {"units": values.tolist(), "rate": self.quantizer.rate}
        return line | ({"counts": counts} if self.dedup else {}) | origin

    def read_finished(self, file: BinaryIO, path: Path) -> list[StoredLine]:
        """The lines of a finished file, in order. New items have no line yet.

        Raises ZooError for a line of an unknown item, a second line of the same item, or a line with other settings.
        """
        lines = list(self._read(file, path))
        seen: set[int] = set()
        for number, line in enumerate(lines, 1):
            if line.item_index in seen:
                raise _line_error(path, number, "a second line of the same item")
            seen.add(line.item_index)
        return lines

    def read_journal(self, file: BinaryIO, path: Path) -> list[StoredLine]:
        """The lines of the finished blocks of a journal. An empty line ends each block; the rest is cut off the file.

        Raises ZooError for a line of an unknown item, or a line with other settings.
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
        now: Line = {"quantizer": self.quantizer.fingerprint, "dtype": self.dtype}
        if "units" in line:
            before["dedup"], now["dedup"] = "counts" in line, self.dedup
        changed = [f"{name} {value!r} (now {now[name]!r})" for name, value in before.items() if value != now[name]]
        if changed:
            raise ZooError(
                f"{path}, line {number}: made with other settings: {', '.join(changed)}; use the same settings, "
                "choose another file, or remove this one"
            )

    def _head(self, index: int) -> Line:
        item = self.items[index]
        span = {key: value for key in ("start", "end") if (value := getattr(item, key)) is not None}
        return {"path": printable(item.path), **span}


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
