"""The transcripts in a folder, and the settings of the run that made them.

_transcripts.jsonl: the first line has the settings. For each recording a line follows with its claim, the names of the
files that the run is going to write. For each recording that is transcribed there is another line, with its size and
time, and with the style of each file, null for a file that is not yet written. Claims are written before the files. So
the files of a killed run are recognized, and a file without a claim is not from `zoo transcribe`.

The JSON of a recording is always kept. Other formats are written from it, also in later runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.io.atomic import replacing_file
from zoo.io.text import dumps, printable
from zoo.jobs.failures import ERRORS_NAME
from zoo.jobs.lists import Item
from zoo.jobs.survey import Planned
from zoo.text.formats import SUBTITLES
from zoo.transcribe.disk import writing

NAME = "_transcripts.jsonl"
FORMAT = 2
SAME_RESULT = frozenset({"batch_size"})  # options that do not change the transcripts


@dataclass(frozen=True)
class TranscriptTask:
    """A recording, the stem of its files relative to the output folder, and their formats.

    style: of subtitles, in words; "" for cues of whole segments.
    """

    item: Planned
    stem: str
    formats: tuple[str, ...]
    style: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files. The JSON is always one of them."""
        return tuple(f"{self.stem}.{name}" for name in dict.fromkeys(("json", *self.formats)))

    @property
    def json(self) -> str:
        """Name of the JSON file."""
        return f"{self.stem}.json"

    def style_of(self, name: str) -> str:
        """The style of one of the files."""
        return self.style if name.rpartition(".")[2] in SUBTITLES else ""


class Journal:
    """The files of each recording: one record for each recording that is done or claimed."""

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        """Read the journal of a folder. Raises ZooError if it is damaged, or if files were made with other settings."""
        self.out, self.path = out, out / NAME
        self.head = {"format": FORMAT, "settings": json.loads(dumps(dict(settings)))}
        lines = self._read()
        self.begun = bool(lines)
        self.records = {record["item"]: record for record in lines[1:]}
        self._drop_empty_claims()
        if self.records:  # without files the old settings do not matter
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
                f"{self.path}: damaged; use another folder, or move this file and the transcripts away to start again"
            )
        if lines[0]["format"] != FORMAT:
            raise ZooError(
                f"{self.path}: format {lines[0]['format']}, this version of zoo reads {FORMAT}; use another folder"
            )
        return lines

    def stems(self, items: Sequence[Item]) -> dict[Item, str]:
        """File names without extension that recordings have from earlier runs."""
        records = {item: self.records.get(key(item)) for item in items}
        return {item: os.path.splitext(next(iter(record["files"])))[0] for item, record in records.items() if record}  # noqa: PTH122

    def transcribed(self, task: TranscriptTask) -> bool:
        """Whether there is a JSON file that was made from the recording as it is now."""
        item, record = task.item, self.records.get(key(task.item.item))
        if record is None or record["file"] is None:
            return False
        same = item.size is None or [item.size, item.mtime_ns] == record["file"]
        return same and (self.out / task.json).is_file()

    def missing(self, task: TranscriptTask) -> list[str]:
        """Files of a transcribed recording that do not exist yet, or have another style."""
        styles = self.records[key(task.item.item)]["files"]
        return [
            name for name in task.files if styles.get(name) != task.style_of(name) or not (self.out / name).is_file()
        ]

    def with_earlier_formats(self, task: TranscriptTask) -> TranscriptTask:
        """The task with all formats that the recording has, so that no file of an old transcript stays."""
        record = self.records.get(key(task.item.item), {"files": ()})
        earlier = [name.rpartition(".")[2] for name in record["files"]]
        return replace(task, formats=tuple(dict.fromkeys((*task.formats, *earlier))))

    def check(self, tasks: Sequence[TranscriptTask]) -> None:
        """Raises ZooError if a file of these tasks belongs to another recording, or is not from `zoo transcribe`."""
        owners: dict[str, list[str]] = {}
        for owner, record in self.records.items():
            for name in record["files"]:
                owners.setdefault(name, []).append(owner)
        if not self.begun and os.path.lexists(self.out / ERRORS_NAME):
            raise _foreign(self.out / ERRORS_NAME)
        for task in tasks:
            owner = key(task.item.item)
            if task.item.reason is not None and owner not in self.records:
                continue  # no file will be written
            for name in task.files:
                others = [other for other in owners.get(name, ()) if other != owner]
                if others:
                    raise _other_recording(self.out / name, others[0], owner)
                if name not in owners and os.path.lexists(self.out / name) and not (self.out / name).is_dir():
                    raise _foreign(self.out / name)

    def claim(self, tasks: Sequence[TranscriptTask], *, transcribed: bool = False) -> None:
        """Record that the files of these tasks are going to be written. Raises ZooError if that fails.

        transcribed: whether their JSON is up to date, and stays.
        """
        for task in tasks:
            styles: dict[str, str | None] = dict.fromkeys(task.files)
            if transcribed:
                styles[task.json] = ""
            self._record(task, styles, keep_file=transcribed)
        self._write()

    def add(self, task: TranscriptTask) -> None:
        """Record on the disk that the files of this task are done. Raises ZooError if that fails."""
        record = self._record(task, {name: task.style_of(name) for name in task.files})
        record["file"] = record["file"] or [task.item.size, task.item.mtime_ns]
        with writing(self.path), self.path.open("ab") as file:
            file.write(dumps(record).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> None:
        """Drop the claims without files."""
        self._drop_empty_claims()
        self._write()

    def _record(
        self, task: TranscriptTask, styles: Mapping[str, str | None], *, keep_file: bool = True
    ) -> dict[str, Any]:
        """The record of a recording, with these styles of files. Its other files stay in it."""
        owner = key(task.item.item)
        old = self.records.get(owner, {"file": None, "files": {}})
        file = old["file"] if keep_file else None
        self.records[owner] = {"item": owner, "file": file, "files": {**old["files"], **styles}}
        return self.records[owner]

    def _drop_empty_claims(self) -> None:
        """Drop the records of recordings without any file in the folder."""
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


@dataclass(frozen=True)
class Plan:
    """Tasks by what they need: nothing, formats from their JSON, a transcription."""

    done: list[TranscriptTask]
    transcribed: list[TranscriptTask]
    missing: list[TranscriptTask]

    @classmethod
    def of(cls, tasks: Sequence[TranscriptTask], journal: Journal) -> Plan:
        """Divide tasks by what earlier runs have done."""
        plan = cls([], [], [])
        for task in tasks:
            if not journal.transcribed(task):
                plan.missing.append(journal.with_earlier_formats(task))
            elif journal.missing(task):
                plan.transcribed.append(task)
            else:
                plan.done.append(task)
        return plan


def _other_recording(path: Path, owner: str, new: str) -> ZooError:
    return ZooError(
        f"{printable(str(path))}: is the transcript of {_describe(owner)}, and the transcript of {_describe(new)} "
        "would replace it; choose another --out, or move it away with its other formats"
    )


def _foreign(path: Path) -> ZooError:
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


def _check_settings(out: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raises ZooError for settings that changed."""
    before, now = _flat(old), _flat(new)
    changed = [
        f"{name} {_shown(before, name)} (now {_shown(now, name)})"
        for name in {**before, **now}
        if name not in before or name not in now or before[name] != now[name]
    ]
    if changed:
        raise ZooError(
            f"{out} was made with other settings: {', '.join(changed)}. "
            "Use the old settings to continue, or use another folder"
        )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Name -> value of all settings and options that must be equal."""
    every = {**settings, **settings["options"]}
    return {name: value for name, value in every.items() if name not in SAME_RESULT and name != "options"}


def _shown(settings: Mapping[str, Any], name: str) -> str:
    return repr(settings[name]) if name in settings else "default"
