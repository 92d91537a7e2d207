"""What a folder of transcripts holds already, and how it was made.

_transcripts.jsonl: the settings in the first line, then one line for each recording once its files are in place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.extract.files import replace
from zoo.extract.inputs import Item
from zoo.extract.plan import Planned, dumps

NAME = "_transcripts.jsonl"
FORMAT = 1


class Journal:
    """Records of finished recordings, on the disk before `add` returns."""

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        """Open or begin the journal of a folder. Raises ZooError where it was begun with other settings."""
        self.out, self.path = out, out / NAME
        head = {"format": FORMAT, "settings": json.loads(dumps(dict(settings)))}
        lines = self._read()
        if lines:
            _check(out, lines[0], head)
        self.records = {record["item"]: record for record in lines[1:]}
        with replace(self.path) as file:  # without the line that a killed run may have left half written
            for line in [head, *self.records.values()]:
                file.write(dumps(line).encode() + b"\n")

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        lines: list[dict[str, Any]] = []
        for line in self.path.read_bytes().splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                break
        if not lines or "settings" not in lines[0]:
            raise ZooError(f"{self.path}: damaged; delete it to begin anew, or use another folder")
        return lines

    def done(self, item: Planned, names: Sequence[str]) -> bool:
        """Whether the files of these names were made from this very recording and are there."""
        record = self.records.get(key(item.asked))
        if record is None or record["files"] != list(names):
            return False
        same = item.size is None or [item.size, item.mtime_ns] == record["file"]
        return same and all((self.out / name).is_file() for name in names)

    def add(self, item: Planned, names: Sequence[str]) -> None:
        """The files of these names are in place."""
        record = {"item": key(item.asked), "file": [item.size, item.mtime_ns], "files": list(names)}
        self.records[record["item"]] = record
        with self.path.open("ab") as file:
            file.write(dumps(record).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def key(item: Item) -> str:
    """An item wherever it is named from."""
    return dumps([os.path.abspath(item.path), item.start, item.end])  # noqa: PTH100 (a link is a file of its own)


def _check(out: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    if old["format"] != new["format"]:
        raise ZooError(f"{out / NAME}: format {old['format']}, this version of zoo reads {FORMAT}; use another folder")
    before, now = old["settings"], new["settings"]
    changed = [f"{n} {before.get(n)!r} (now {now.get(n)!r})" for n in {**before, **now} if before.get(n) != now.get(n)]
    if changed:
        raise ZooError(
            f"{out} was begun with other settings: {', '.join(changed)}. "
            "Repeat the former ones to go on with it, or use another folder"
        )
