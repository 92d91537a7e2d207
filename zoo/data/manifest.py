"""The manifest: one audio clip a line, as JSON; what every dataset of zoo is, whatever it came from.

    {"audio": "clips/a.flac", "duration": 2.5, "split": "train", "text": "hello", "speaker": "anna", "emotion": "calm"}

Fields: audio (path, relative to the manifest), duration (s, of the clip), split ("train" | "dev" | "test"); where known
start, end (s: the clip is this span of the file; a start without an end: as long as duration says), text (transcript),
captions (list of str), speaker, lang (both str), phones (list of [start, end, symbol], s, counted from the clip's
start). Every other key is a label column: a string, number, bool or null.
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

SPLITS = ("train", "dev", "test")
Label = str | int | float | bool | None
Phone = tuple[float, float, str]

_FOREVER = 1e9  # s; a time must be less: a century is a mistake, NaN and infinity fail the comparison
_ROUNDING = 1e-3  # s; times are written rounded, so neighbors may overlap by that much
_UNEVEN = 0.02  # s; start, end and duration, each rounded to hundredths, may be so far from adding up


@dataclass
class Entry:
    """One clip. audio: absolute path; start, end: the span of it that is meant, None where it is the whole file."""

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

    Raises ManifestError naming file, line and field for anything that is not as the module's docstring says.
    """
    path = Path(path).expanduser().absolute()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise ManifestError(f"{path}: holds no entries; a manifest has one JSON object a line")
    return [parse(line, path.parent, where=f"{path}:{number}") for number, line in lines]


def parse(line: str, folder: Path, *, where: str) -> Entry:
    """One line of a manifest that lies in `folder`. Raises ManifestError, which begins with `where`."""
    return _ManifestLine(where, line).entry(folder)


def write(path: str | Path, entries: Iterable[Entry]) -> None:
    """Write a manifest that `read` gives back; paths relative to it. An existing one is replaced in one step.

    Raises ManifestError, before anything is written, for an entry that could not be read back.
    """
    path = Path(path).expanduser().absolute()
    lines = [dump(entry, path.parent) for entry in entries]
    for number, line in enumerate(lines, 1):
        _ManifestLine(f"{path}:{number}", line).entry(path.parent)
    with replacing_file(path, shared=True) as partial:
        partial.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def dump(entry: Entry, folder: Path) -> str:
    """One line of a manifest that lies in `folder` (no newline): known fields in a fixed order, then the labels."""
    if clash := _KNOWN & entry.labels.keys():
        raise ManifestError(f"{entry.audio}: {sorted(clash)} are fields of a manifest and cannot be label columns")
    known = {
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
    present = {key: value for key, value in known.items() if value is not None}
    return json.dumps(present | entry.labels, ensure_ascii=False)


class _ManifestLine:
    """One parsed line that knows where it stands, so that every complaint names file:line and field."""

    def __init__(self, where: str, line: str) -> None:
        self.where = where
        try:
            self.values = json.loads(line, object_pairs_hook=self._unique)
        except ManifestError:
            raise
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{where}: not a JSON object ({error})") from None
        if not isinstance(self.values, dict):
            raise ManifestError(f"{where}: a {type(self.values).__name__} where a JSON object was expected")

    def entry(self, folder: Path) -> Entry:
        duration, start, end = self._span()
        audio = self._string("audio", required=True)
        split = self._string("split", required=True)
        if split not in SPLITS:
            self._fail("split", f"{split!r} is none of {', '.join(SPLITS)}")
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
            labels={key: self._label(key) for key in self.values if key not in _KNOWN},
        )

    def _span(self) -> tuple[float, float | None, float | None]:
        """duration, start, end, of which the last two agree with the first."""
        start, end = self._seconds("start"), self._seconds("end")
        begin = start or 0.0
        if end is not None and end <= begin:
            self._fail("end", f"{end} s is not after the start, {begin} s")
        duration = self._seconds("duration", required=True)
        if not duration:
            self._fail("duration", "must be more than 0 s")
        if end is None:
            return duration, start, None if start is None else start + duration
        if not -_UNEVEN <= end - begin - duration <= LATE + _UNEVEN:  # an end may lie past the file's
            self._fail(
                "duration",
                f"{duration:g} s, but from start {begin:g} s to end {end:g} s there are {end - begin:g} s; the "
                "duration is that of the clip, not of its file: correct one of them, or leave out end",
            )
        return duration, start, end

    def _unique(self, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            keys = [key for key, _ in pairs]
            self._fail(next(key for key in keys if keys.count(key) > 1), "given twice")
        return values

    def _string(self, key: str, required: bool = False) -> str | None:
        value = self.values.get(key)
        if value is None and not required:
            return None
        if not isinstance(value, str) or (required and not value):
            self._fail(key, "missing" if key not in self.values else f"a string was expected, not {value!r}")
        return value

    def _seconds(self, key: str, required: bool = False) -> float | None:
        value = self.values.get(key)
        if value is None and not required:
            return None
        if not _is_time(value):
            self._fail(key, "missing" if key not in self.values else f"seconds >= 0 were expected, not {value!r}")
        return float(value)

    def _captions(self) -> list[str]:
        value = self.values.get("captions")
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(caption, str) and caption for caption in value):
            self._fail("captions", "a list of strings was expected")
        return value

    def _phones(self) -> list[Phone]:
        value = self.values.get("phones")
        if value is None:
            return []
        if not isinstance(value, list):
            self._fail("phones", "a list of [start, end, symbol] was expected")
        phones: list[Phone] = []
        for item in value:
            if not (isinstance(item, list) and len(item) == 3 and isinstance(item[2], str)):
                self._fail("phones", f"[start, end, symbol] was expected, not {item!r}")
            start, end, symbol = item
            if not (_is_time(start) and _is_time(end) and start <= end):
                self._fail("phones", f"start and end must be seconds in order, not {item!r}")
            if phones and start < phones[-1][1] - _ROUNDING:
                self._fail("phones", f"{item!r} begins before {list(phones[-1])!r} ends")
            phones.append((float(start), float(end), symbol))
        return phones

    def _label(self, key: str) -> Label:
        value = self.values[key]
        if not isinstance(value, Label) or (isinstance(value, float) and not math.isfinite(value)):
            self._fail(key, f"a label column holds a string, finite number, bool or null, not {value!r}")
        return value

    def _fail(self, key: str, reason: str) -> NoReturn:
        raise ManifestError(f"{self.where}: field {key!r}: {reason}")


_KNOWN = frozenset(name for name in Entry.__dataclass_fields__ if name != "labels")


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _FOREVER
