"""File formats of transcripts: plain text, subtitles, tables, JSON."""

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
    """All data: segments with tokens and log-probabilities, and words if there are any."""
    return json.dumps(transcript.to_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[Transcript], str]] = {"txt": text, "srt": srt, "vtt": vtt, "json": as_json, "tsv": tsv}
"""File name extension -> function that makes the text of the file."""


def render(transcript: Transcript, name: str) -> str:
    """The transcript in a format of `FORMATS`."""
    return FORMATS[name](transcript)


def parse_formats(names: str) -> tuple[str, ...]:
    """ "srt,json", or "all" -> names. Raises ConfigError for an unknown name."""
    formats = tuple(FORMATS) if names == "all" else tuple(dict.fromkeys(name.strip() for name in names.split(",")))
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ConfigError(f'format {unknown[0]!r} is unknown; choose from {", ".join(FORMATS)}, or "all"')
    return formats


def _cues(transcript: Transcript) -> Iterator[tuple[float, float, str]]:
    """Start, end and text of every segment with text; the text is one line."""
    for segment in transcript.segments:
        if line := " ".join(segment.text.split()):
            yield segment.start, segment.end, line


def _cue(line: str) -> str:
    """The text of a cue; arrows are shortened, because --> separates the times of a cue."""
    return _ARROW.sub("->", line)


def _escape(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;")


def _clock(seconds: float, point: str) -> str:
    """hh:mm:ss.mmm"""
    milliseconds = round(seconds * 1000)
    minutes, remainder = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{remainder // 1000:02d}{point}{remainder % 1000:03d}"
