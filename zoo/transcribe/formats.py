"""Transcripts as files: plain text, subtitles, tables, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

from zoo.errors import ConfigError
from zoo.text.transcript import Transcript

_ARROW = re.compile("-{2,}>")


def text(transcript: Transcript) -> str:
    """One segment a line."""
    return "".join(f"{line}\n" for _, _, line in _cues(transcript))


def srt(transcript: Transcript) -> str:
    """SubRip subtitles."""
    cues = enumerate(_cues(transcript), start=1)
    return "".join(f"{i}\n{_clock(a, ',')} --> {_clock(b, ',')}\n{_cue(line)}\n\n" for i, (a, b, line) in cues)


def vtt(transcript: Transcript) -> str:
    """WebVTT subtitles."""
    cues = (f"{_clock(a, '.')} --> {_clock(b, '.')}\n{_escape(_cue(line))}\n\n" for a, b, line in _cues(transcript))
    return "WEBVTT\n\n" + "".join(cues)


def tsv(transcript: Transcript) -> str:
    """A table of start and end in milliseconds, and text."""
    rows = (f"{round(a * 1000)}\t{round(b * 1000)}\t{line}\n" for a, b, line in _cues(transcript))
    return "start\tend\ttext\n" + "".join(rows)


def as_json(transcript: Transcript) -> str:
    """Everything: segments with tokens and log-probabilities, words where there are any."""
    return json.dumps(transcript.to_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[Transcript], str]] = {"txt": text, "srt": srt, "vtt": vtt, "json": as_json, "tsv": tsv}
"""File name extension -> what writes it."""


def render(transcript: Transcript, name: str) -> str:
    """The transcript in the format of that name."""
    return FORMATS[name](transcript)


def parse_formats(names: str) -> tuple[str, ...]:
    """ "srt,json", or "all" -> names. Raises ConfigError."""
    chosen = tuple(FORMATS) if names == "all" else tuple(dict.fromkeys(name.strip() for name in names.split(",")))
    unknown = [name for name in chosen if name not in FORMATS]
    if unknown:
        raise ConfigError(f'format {unknown[0]!r} is unknown; choose from {", ".join(FORMATS)}, or "all"')
    return chosen


def _cues(transcript: Transcript) -> Iterator[tuple[float, float, str]]:
    """Start, end and text on one line of every segment that has any."""
    for segment in transcript.segments:
        if line := " ".join(segment.text.split()):
            yield segment.start, segment.end, line


def _cue(line: str) -> str:
    """The text of a cue may not hold the arrow that times do, however long it is drawn."""
    return _ARROW.sub("->", line)


def _escape(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;")


def _clock(seconds: float, point: str) -> str:
    """hh:mm:ss.mmm"""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"
