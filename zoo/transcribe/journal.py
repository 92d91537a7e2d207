"""What a folder of transcripts holds already, and how it was made.

_transcripts.jsonl: the settings in the first line; for each recording a claim, which names the files that are going to
be written; then for each one that is done a line with size and time of the recording. Claims are there before the
files: what a killed run leaves is known as ours, and what nobody claimed belongs to somebody else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.io.atomic import replacing_file
from zoo.io.text import dumps, printable
from zoo.jobs.failures import ERRORS_NAME
from zoo.jobs.lists import Item
from zoo.jobs.survey import Planned
from zoo.transcribe.disk import writing

NAME = "_transcripts.jsonl"
FORMAT = 1
SAME_RESULT = frozenset({"batch_size"})  # options that decide how much memory is taken, not what is written


@dataclass(frozen=True)
class TranscriptTask:
    """A recording and the files to be made of it, relative to the output folder."""

    item: Planned
    files: tuple[str, ...]


class Journal:
    """Who owns which files: one record for each recording that is done or claimed."""

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        """Read the journal of a folder. Raises ZooError where it is damaged, or there are files of other settings."""
        self.out, self.path = out, out / NAME
        self.head = {"format": FORMAT, "settings": json.loads(dumps(dict(settings)))}
        lines = self._read()
        self.begun = bool(lines)
        self.records = {record["item"]: record for record in lines[1:]}
        self._forget()
        if self.records:  # settings that nothing was written with bind nobody
            _check_settings(out, lines[0]["settings"], self.head["settings"])

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
            raise ZooError(
                f"{self.path}: damaged; use another folder, or move this file and the transcripts away to begin anew"
            )
        if lines[0]["format"] != FORMAT:
            raise ZooError(
                f"{self.path}: format {lines[0]['format']}, this version of zoo reads {FORMAT}; use another folder"
            )
        return lines

    def kept(self, items: Sequence[Item]) -> dict[Item, str]:
        """The names, without extension, that these recordings have had since they were first written."""
        found = {item: self.records.get(key(item)) for item in items}
        return {item: os.path.splitext(record["files"][0])[0] for item, record in found.items() if record}  # noqa: PTH122

    def done(self, task: TranscriptTask) -> bool:
        """Whether the files of this task were made from this very recording and are there."""
        item, record = task.item, self.records.get(key(task.item.item))
        if record is None or record["file"] is None or record["files"] != list(task.files):
            return False
        same = item.size is None or [item.size, item.mtime_ns] == record["file"]
        return same and all((self.out / name).is_file() for name in task.files)

    def check(self, tasks: Sequence[TranscriptTask]) -> None:
        """Raises ZooError where a file of these tasks is another recording's, or not from here at all."""
        owners: dict[str, list[str]] = {}
        for owner, record in self.records.items():
            for name in record["files"]:
                owners.setdefault(name, []).append(owner)
        if not self.begun and os.path.lexists(self.out / ERRORS_NAME):
            raise _foreign(self.out / ERRORS_NAME)
        for task in tasks:
            mine = key(task.item.item)
            if task.item.reason is not None and mine not in self.records:
                continue  # nothing will be written
            for name in task.files:
                others = [owner for owner in owners.get(name, ()) if owner != mine]
                if others:
                    raise _anothers(self.out / name, others[0], mine)
                if name not in owners and os.path.lexists(self.out / name) and not (self.out / name).is_dir():
                    raise _foreign(self.out / name)

    def claim(self, tasks: Sequence[TranscriptTask]) -> None:
        """The files of these tasks are going to be written. Raises ZooError where the journal cannot be."""
        for task in tasks:
            self._record(task, None)
        self._write()

    def add(self, task: TranscriptTask) -> None:
        """The files of this task are in place. On the disk before it returns. Raises ZooError as `claim` does."""
        record = self._record(task, [task.item.size, task.item.mtime_ns])
        with writing(self.path), self.path.open("ab") as file:
            file.write(dumps(record).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> None:
        """Drop the claims that came to nothing."""
        self._forget()
        self._write()

    def _record(self, task: TranscriptTask, file: list[int | None] | None) -> dict[str, Any]:
        record = {"item": key(task.item.item), "file": file, "files": list(task.files)}
        self.records[key(task.item.item)] = record
        return record

    def _forget(self) -> None:
        """A recording none of whose files is there (any more) has no claim to their names."""
        self.records = {
            owner: record
            for owner, record in self.records.items()
            if any(os.path.lexists(self.out / name) for name in record["files"])
        }

    def _write(self) -> None:
        done = [record for record in self.records.values() if record["file"] is not None]
        claims = [{**record, "file": None} for record in self.records.values()]
        with writing(self.path), replacing_file(self.path) as partial, partial.open("wb") as file:
            for line in [self.head, *claims, *done]:
                file.write(dumps(line).encode() + b"\n")


def _anothers(path: Path, owner: str, mine: str) -> ZooError:
    return ZooError(
        f"{printable(str(path))}: is recorded as the transcript of {_spoken(owner)}, and that of {_spoken(mine)} would "
        "take its place; choose another --out, or move it away with its other formats"
    )


def _foreign(path: Path) -> ZooError:
    return ZooError(
        f"{printable(str(path))}: is there already and was not written by zoo transcribe (it is not in {NAME}); "
        "choose another --out, or move it away"
    )


def _spoken(owner: str) -> str:
    path, start, end = json.loads(owner)
    span = "" if start is None and end is None else f" ({start or 0} s to {'its end' if end is None else f'{end} s'})"
    return printable(path) + span


def key(item: Item) -> str:
    """An item wherever it is named from."""
    return dumps([os.path.abspath(item.path), item.start, item.end])  # noqa: PTH100 (a link is a file of its own)


def _check_settings(out: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    before, now = _flat(old), _flat(new)
    changed = [
        f"{name} {_shown(before, name)} (now {_shown(now, name)})"
        for name in {**before, **now}
        if name not in before or name not in now or before[name] != now[name]
    ]
    if changed:
        raise ZooError(
            f"{out} was begun with other settings: {', '.join(changed)}. "
            "Repeat the former ones to go on with it, or use another folder"
        )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """All that must agree, by name, options among them."""
    every = {**settings, **settings["options"]}
    return {name: value for name, value in every.items() if name not in SAME_RESULT and name != "options"}


def _shown(settings: Mapping[str, Any], name: str) -> str:
    return repr(settings[name]) if name in settings else "left to the default"
