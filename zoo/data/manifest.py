"""The manifest format for data sets: JSON lines, one audio clip per line.

    {"audio": "clips/a.flac", "duration": 2.5, "split": "train", "text": "hello", "speaker": "anna", "emotion": "calm"}

Required fields: audio (path, relative to the manifest), duration (s, of the clip), split ("train" | "dev" | "test").
Optional fields: start, end (s: the clip is this span of the file; without an end, the span is `duration` long), text
(transcript), captions (list of str), speaker, lang (both str), phones (list of [start, end, symbol] in s from the start
of the clip). Every other key is a label column: a string, number, bool or null.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from zoo.audio.reading import LATE
from zoo.errors import ManifestError
from zoo.io.atomic import replacing_file
from zoo.io.text import shorten

SPLITS = ("train", "dev", "test")
Label = str | int | float | bool | None
Phone = tuple[float, float, str]

_MAX_TIME = 1e9  # s; times must be smaller: 30 years is a mistake, and NaN and infinity fail the comparison
_ROUNDING = 1e-3  # s; times are rounded, so neighbors may overlap by this much
_TOLERANCE = 0.02  # s; start, end and duration are rounded to 0.01 s, so start + duration may differ from end


@dataclass
class Entry:
    """One clip. audio: absolute path; start, end: span of the file in seconds, None for the whole file."""

    audio: Path
    duration: float
    split: str
    start: float | None = None
    end: float | None = None
    text: str | None = None
    captions: list[str] = field(default_factory=list)
    speaker: str | None = None
    lang: str | None = None
    phones: list[Phone] = field(default_factory=list)
    labels: dict[str, Label] = field(default_factory=dict)


def read(path: str | Path) -> list[Entry]:
    """Read and check a manifest; audio paths become absolute. The audio itself is not opened.

    Raises ManifestError, naming file, line and field, for everything that does not follow the format above.
    """
    path = Path(path).expanduser().absolute()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ManifestError(f"{path}: there is no such file; check the path of the manifest") from None
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is not UTF-8 text ({error})") from None
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise ManifestError(f"{path}: has no entries; a manifest has one JSON object per line")
    return [parse(line, path.parent, where=f"{path}:{number}") for number, line in lines]


def parse(line: str, folder: Path, *, where: str) -> Entry:
    """One line of a manifest in `folder`. Raises ManifestError; its message starts with `where`."""
    return _ManifestLine(where, line).entry(folder)


def write(path: str | Path, entries: Iterable[Entry]) -> None:
    """Write a manifest with relative paths. An existing file is replaced in one step.

    Raises ManifestError, before anything is written, for an entry that `read` would refuse.
    """
    path = Path(path).expanduser().absolute()
    lines = [dump(entry, path.parent) for entry in entries]
    for number, line in enumerate(lines, 1):
        _ManifestLine(f"{path}:{number}", line).entry(path.parent)
    with replacing_file(path, shared=True) as partial:
        partial.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def dump(entry: Entry, folder: Path) -> str:
    """One line of a manifest in `folder`, without a newline: fields in a fixed order, then the label columns.

    Raises ManifestError for a label column with the name of a field.
    """
    if clash := _FIELDS & entry.labels.keys():
        raise ManifestError(f"{entry.audio}: {sorted(clash)} are fields of a manifest and cannot be label columns")
    values = {
        "audio": Path(os.path.relpath(entry.audio, folder)).as_posix(),
        "duration": entry.duration,
        "split": entry.split,
        "start": entry.start,
        "end": entry.end,
        "text": entry.text,
        "captions": entry.captions or None,
        "speaker": entry.speaker,
        "lang": entry.lang,
        "phones": entry.phones or None,
    }
    present = {key: value for key, value in values.items() if value is not None}
    return json.dumps(present | entry.labels, ensure_ascii=False)


class _ManifestLine:
    """One parsed line with its position, so that every error names file, line and field."""

    def __init__(self, where: str, line: str) -> None:
        self.where = where
        try:
            self.values = json.loads(line, object_pairs_hook=self._unique)
        except ManifestError:
            raise
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{where}: not a JSON object ({error})") from None
        if not isinstance(self.values, dict):
            raise ManifestError(f"{where}: expected a JSON object, not a {type(self.values).__name__}")

    def entry(self, folder: Path) -> Entry:
        duration, start, end = self._span()
        audio = self._string("audio", required=True)
        split = self._string("split", required=True)
        if split not in SPLITS:
            self._fail("split", f"{shorten(split)} is not one of {', '.join(SPLITS)}")
        return Entry(
            audio=folder / str(audio),
            duration=duration,
            split=split,
            start=start,
            end=end,
            text=self._string("text"),
            captions=self._captions(),
            speaker=self._string("speaker"),
            lang=self._string("lang"),
            phones=self._phones(),
            labels={key: self._label(key) for key in self.values if key not in _FIELDS},
        )

    def _span(self) -> tuple[float, float | None, float | None]:
        """duration, start, end; checked to be consistent."""
        start, end = self._seconds("start"), self._seconds("end")
        begin = start or 0.0
        if end is not None and end <= begin:
            self._fail("end", f"{end} s is not after the start, {begin} s")
        duration = self._seconds("duration", required=True)
        if not duration:
            self._fail("duration", "must be more than 0 s")
        if end is None:
            return duration, start, None if start is None else start + duration
        if not -_TOLERANCE <= end - begin - duration <= LATE + _TOLERANCE:  # the end may be after the end of the file
            self._fail(
                "duration",
                f"{duration:g} s, but from start {begin:g} s to end {end:g} s there are {end - begin:g} s; the "
                "duration must be that of the clip, not of its file: correct one of them, or leave out end",
            )
        return duration, start, end

    def _unique(self, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            keys = [key for key, _ in pairs]
            self._fail(next(key for key in keys if keys.count(key) > 1), "appears twice")
        return values

    def _string(self, key: str, required: bool = False) -> str | None:
        value = self.values.get(key)
        if value is None and not required:
            return None
        if not isinstance(value, str) or (required and not value):
            self._fail(key, "missing" if key not in self.values else f"expected a string, not {shorten(value)}")
        return value

    def _seconds(self, key: str, required: bool = False) -> float | None:
        value = self.values.get(key)
        if value is None and not required:
            return None
        if not _is_time(value):
            self._fail(key, "missing" if key not in self.values else f"expected seconds >= 0, not {shorten(value)}")
        return float(value)

    def _captions(self) -> list[str]:
        value = self.values.get("captions")
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(caption, str) and caption for caption in value):
            self._fail("captions", "expected a list of strings")
        return value

    def _phones(self) -> list[Phone]:
        value = self.values.get("phones")
        if value is None:
            return []
        if not isinstance(value, list):
            self._fail("phones", "expected a list of [start, end, symbol]")
        phones: list[Phone] = []
        for item in value:
            if not (isinstance(item, list) and len(item) == 3 and isinstance(item[2], str)):
                self._fail("phones", f"expected [start, end, symbol], not {shorten(item)}")
            start, end, symbol = item
            if not (_is_time(start) and _is_time(end) and start <= end):
                self._fail("phones", f"start and end must be seconds in order, not {shorten(item)}")
            if phones and start < phones[-1][1] - _ROUNDING:
                self._fail("phones", f"{shorten(item)} begins before {list(phones[-1])!r} ends")
            phones.append((float(start), float(end), symbol))
        return phones

    def _label(self, key: str) -> Label:
        value = self.values[key]
        if not isinstance(value, Label) or (isinstance(value, float) and not math.isfinite(value)):
            self._fail(key, f"a label must be a string, finite number, bool or null, not {shorten(value)}")
        return value

    def _fail(self, key: str, reason: str) -> NoReturn:
        raise ManifestError(f"{self.where}: field {key!r}: {reason}")


_FIELDS = frozenset(name for name in Entry.__dataclass_fields__ if name != "labels")


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MAX_TIME
