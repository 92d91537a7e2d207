"""The transcripts in a folder, and the settings of the runs that made them.

_transcripts.jsonl: the first line has the settings. A line for each recording follows: its size and time (null if it
must be transcribed again), and its files with the style of each. It is replaced at the end of a run. Until then, the
plan of the job says which recordings it has and how their files are called. So the files of a killed run are
recognized, and a file that neither of the two has is not from `zoo transcribe`.

The JSON of a recording is always kept. Other formats are written from it, also in later runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.io.atomic import replacing_file
from zoo.io.text import dumps, printable
from zoo.jobs.lists import Item
from zoo.jobs.prepare import list_changes
from zoo.transcribe.disk import writing

NAME = "_transcripts.jsonl"
FORMAT = 3
SAME_RESULT = frozenset({"batch_size"})  # options that do not change the transcripts

Record = dict[str, Any]


class Ledger:
    """The records of a folder: key of a recording -> {"item", "file", "files"}."""

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        """Read the records. Raises ZooError if they are damaged, or if there are files made with other settings."""
        self.out, self.path = out, out / NAME
        self.head = {"format": FORMAT, "settings": json.loads(dumps(dict(settings)))}
        lines = self._read()
        self.exists = bool(lines)
        self.records: dict[str, Record] = {record["item"]: record for record in lines[1:]}
        self._drop_empty()
        if self.records:  # without files the old settings do not matter
            changed = list_changes(compared(lines[0]["settings"]), compared(self.head["settings"]))
            if changed:
                raise ZooError(
                    f"{out} was made with other settings: {', '.join(changed)}. "
                    "Use the old settings to continue, or use another folder"
                )

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        try:
            lines = [json.loads(line) for line in self.path.read_bytes().splitlines()]
            found, _ = lines[0]["format"], lines[0]["settings"]
        except (ValueError, LookupError, TypeError):
            raise ZooError(
                f"{self.path}: damaged; use another folder, or move this file and the transcripts away to start again"
            ) from None
        if found != FORMAT:
            raise ZooError(f"{self.path}: format {found}, this version of zoo reads {FORMAT}; use another folder")
        return lines

    def stem(self, item: Item) -> str | None:
        """File name without extension that a recording has from earlier runs."""
        record = self.records.get(key(item))
        return os.path.splitext(next(iter(record["files"])))[0] if record else None  # noqa: PTH122

    def formats(self, item: Item) -> list[str]:
        """Formats that a recording has."""
        record = self.records.get(key(item), {"files": ()})
        return [name.rpartition(".")[2] for name in record["files"]]

    def transcribed(self, item: Item, stamp: Sequence[int] | None) -> bool:
        """Whether there is a JSON file that was made from the recording as it is now. stamp: size and time."""
        record = self.records.get(key(item))
        if record is None or record["file"] is None:
            return False
        same = stamp is None or list(stamp) == record["file"]
        return same and (self.out / f"{self.stem(item)}.json").is_file()

    def missing(self, item: Item, styles: Mapping[str, str]) -> list[str]:
        """Those of a recording's files that do not exist yet or have another style. styles: file name -> style."""
        written = self.records[key(item)]["files"]
        return [name for name, style in styles.items() if written.get(name) != style or not (self.out / name).is_file()]

    def add(self, record: Record) -> None:
        """Add a record. The files that the recording has already stay in it."""
        old = self.records.get(record["item"], {"files": {}})
        files = {**old["files"], **record["files"]}
        self.records[record["item"]] = {"item": record["item"], "file": record["file"], "files": files}

    def write(self) -> None:
        """Put the records on the disk. Raises ZooError if that fails."""
        self._drop_empty()
        with writing(self.path), replacing_file(self.path) as partial, partial.open("wb") as file:
            for line in [self.head, *(record for _, record in sorted(self.records.items()))]:
                file.write(dumps(line).encode() + b"\n")

    def _drop_empty(self) -> None:
        """Drop the records of recordings without any file in the folder."""
        self.records = {
            owner: record
            for owner, record in self.records.items()
            if any(os.path.lexists(self.out / name) for name in record["files"])
        }


class Owners:
    """Whose file each name in the folder is. No transcript may replace that of another recording, or a foreign file."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._owners: dict[str, set[str]] = {}

    def add(self, owner: str, names: Iterable[str]) -> None:
        """Files that a recording has, or will have."""
        for name in names:
            self._owners.setdefault(name, set()).add(owner)

    def check(self, item: Item, names: Iterable[str]) -> None:
        """Raises ZooError if a file belongs to another recording, or is not from `zoo transcribe`."""
        owner = key(item)
        for name in names:
            owners = self._owners.get(name, set())
            others = sorted(owners - {owner})
            if others:
                raise _other_recording(self.out / name, others[0], owner)
            path = self.out / name
            if not owners and os.path.lexists(path) and not path.is_dir():
                raise foreign(path)


def _other_recording(path: Path, owner: str, new: str) -> ZooError:
    return ZooError(
        f"{printable(str(path))}: is the transcript of {_describe(owner)}, and the transcript of {_describe(new)} "
        "would replace it; choose another --out, or move it away with its other formats"
    )


def foreign(path: Path) -> ZooError:
    """The error for a file that is not from `zoo transcribe`."""
    return ZooError(
        f"{printable(str(path))}: already exists and was not written by zoo transcribe (it is not in {NAME}); "
        "choose another --out, or move it away"
    )


def _describe(owner: str) -> str:
    path, start, end = json.loads(owner)
    span = "" if start is None and end is None else f" ({start or 0} s to {'its end' if end is None else f'{end} s'})"
    return printable(path) + span


def key(item: Item) -> str:
    """Key of an item. It does not depend on the current folder."""
    return dumps([os.path.abspath(item.path), item.start, item.end])  # noqa: PTH100 (a link is a file of its own)


def compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Name -> value of all settings and options that must be equal."""
    every = {**settings, **settings["options"]}
    return {name: value for name, value in every.items() if name not in SAME_RESULT and name != "options"}
