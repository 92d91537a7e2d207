"""File formats of transcripts: plain text, subtitles and tables of segments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from zoo.errors import ConfigError
from zoo.text.segment import Segment, Word
from zoo.validation import check_types

FORMATS = ("txt", "srt", "vtt", "json", "tsv")
"""Names of the formats, which are also the extensions of the files."""
SUBTITLES = ("srt", "vtt")
_ARROW = re.compile("-{2,}>")
Cue = tuple[float, float, str]
"""Start and end in seconds, and the text."""


@dataclass(frozen=True)
class SubtitleStyle:
    """How words are shown in subtitles, as in openai-whisper. By default a cue shows a whole segment.

    highlight_words: each word is underlined while it is spoken.
    max_words_per_line: a cue shows at most so many words; with 1, one cue a word. Words without duration share a cue.
    Both need the times of words: transcribe with word_timestamps=True.
    Raises ConfigError for values of a wrong type or out of range.
    """

    highlight_words: bool = False
    max_words_per_line: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        if self.max_words_per_line is not None and self.max_words_per_line < 1:
            raise ConfigError(f"max_words_per_line {self.max_words_per_line}: at least 1")

    @property
    def name(self) -> str:
        """The style in words, "" for the default."""
        parts = ["highlight_words"] if self.highlight_words else []
        if self.max_words_per_line is not None:
            parts.append(f"max_words_per_line={self.max_words_per_line}")
        return " ".join(parts)

    @property
    def needs_words(self) -> bool:
        """Whether the times of words are needed."""
        return self.highlight_words or self.max_words_per_line is not None


def txt(segments: Sequence[Segment]) -> str:
    """One segment a line."""
    return "".join(f"{line}\n" for _, _, line in _lines(segments))


def tsv(segments: Sequence[Segment]) -> str:
    """A table of start and end in milliseconds, and text."""
    rows = (f"{round(a * 1000)}\t{round(b * 1000)}\t{line}\n" for a, b, line in _lines(segments))
    return "start\tend\ttext\n" + "".join(rows)


def srt(segments: Sequence[Segment], style: SubtitleStyle) -> str:
    """SubRip subtitles."""
    cues = enumerate(_cues(segments, style, lambda text: text), start=1)
    return "".join(f"{i}\n{_clock(a, ',')} --> {_clock(b, ',')}\n{text}\n\n" for i, (a, b, text) in cues)


def vtt(segments: Sequence[Segment], style: SubtitleStyle) -> str:
    """WebVTT subtitles."""
    cues = _cues(segments, style, _escape)
    return "WEBVTT\n\n" + "".join(f"{_clock(a, '.')} --> {_clock(b, '.')}\n{text}\n\n" for a, b, text in cues)


def parse_formats(names: str) -> tuple[str, ...]:
    """ "srt,json", or "all" -> names. Raises ConfigError for an unknown name."""
    if names == "all":
        return FORMATS
    formats = tuple(dict.fromkeys(name.strip() for name in names.split(",")))
    for name in formats:
        check_format(name, ', or "all"')
    return formats


def check_format(name: str, others: str = "") -> None:
    """Raises ConfigError for an unknown name. others: further possible values, for the message."""
    if name not in FORMATS:
        raise ConfigError(f"format {name!r} is unknown; choose from {', '.join(FORMATS)}{others}")


def _lines(segments: Sequence[Segment]) -> Iterator[Cue]:
    """Start, end and text of every segment with text; the text is one line."""
    for segment in segments:
        line = " ".join(segment.text.split())
        if line:
            yield segment.start, segment.end, line


def _cues(segments: Sequence[Segment], style: SubtitleStyle, escape: Callable[[str], str]) -> Iterator[Cue]:
    """Cues with their text as in the file. Arrows are shortened, because --> separates the times of a cue.

    Raises ConfigError for a style that needs the times of words if there are none.
    """
    if style.needs_words and segments and not any(segment.words for segment in segments):
        raise ConfigError(
            "highlight_words, max_words_per_line: the transcript has no times of words; transcribe with "
            "word_timestamps=True"
        )
    for segment in segments:
        words = segment.words if style.needs_words else None
        if words and words[0].start < words[-1].end:
            cues = _word_cues(words, style, escape)
        else:
            cues = ((start, end, escape(line)) for start, end, line in _lines([segment]))
        for start, end, text in cues:
            if text:
                yield start, end, _ARROW.sub("->", text)


def _word_cues(words: Sequence[Word], style: SubtitleStyle, escape: Callable[[str], str]) -> Iterator[Cue]:
    """Cues of the words of one segment."""
    for group in _groups(words, style.max_words_per_line or len(words)):
        texts = [escape(" ".join(word.text.split())) for word in group]
        gaps = [" " if word.text[:1].isspace() else "" for word in group]
        start, end = group[0].start, group[-1].end
        if not style.highlight_words:
            yield start, end, _join(gaps, texts)
            continue
        shown = start  # until when cues were made
        for i, word in enumerate(group):
            if word.end <= word.start or not texts[i]:
                continue
            if word.start > shown:
                yield shown, word.start, _join(gaps, texts)
            underlined = [*texts[:i], f"<u>{texts[i]}</u>", *texts[i + 1 :]]
            yield word.start, word.end, _join(gaps, underlined)
            shown = word.end
        if shown < end:
            yield shown, end, _join(gaps, texts)


def _groups(words: Sequence[Word], size: int) -> list[list[Word]]:
    """Words in groups of `size`; a group without duration gets more words, or is joined to the one before."""
    groups: list[list[Word]] = []
    for word in words:
        if not groups or (len(groups[-1]) >= size and groups[-1][-1].end > groups[-1][0].start):
            groups.append([])
        groups[-1].append(word)
    if len(groups) > 1 and groups[-1][-1].end <= groups[-1][0].start:
        last = groups.pop()
        groups[-1] += last
    return groups


def _join(gaps: Sequence[str], texts: Sequence[str]) -> str:
    return "".join(gap + text for gap, text in zip(gaps, texts, strict=True)).strip()


def _escape(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;")


def _clock(seconds: float, point: str) -> str:
    """hh:mm:ss.mmm"""
    milliseconds = round(seconds * 1000)
    minutes, remainder = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{remainder // 1000:02d}{point}{remainder % 1000:03d}"
