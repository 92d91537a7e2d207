"""Result of transcription: text with times, as plain data for JSON, and as text and subtitles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.io.atomic import replacing_file
from zoo.text import formats
from zoo.text.formats import SubtitleStyle
from zoo.text.segment import Segment, Word

__all__ = ["Segment", "SubtitleStyle", "Transcript", "Word"]


@dataclass
class Transcript:
    """The transcript of one recording of `duration` seconds.

    language: code such as "en"; language_probability: 1.0 if the caller gave the language.
    """

    language: str
    duration: float
    segments: list[Segment] = field(default_factory=list)
    language_probability: float = 1.0

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(segment.text for segment in self.segments).strip()

    @property
    def words(self) -> list[Word]:
        """All words; empty without word timestamps."""
        return [word for segment in self.segments for word in segment.words or ()]

    def to_txt(self) -> str:
        """Plain text, one segment a line."""
        return formats.txt(self.segments)

    def to_srt(self, *, highlight_words: bool = False, max_words_per_line: int | None = None) -> str:
        """SubRip subtitles. For the options see `SubtitleStyle`."""
        return formats.srt(self.segments, SubtitleStyle(highlight_words, max_words_per_line))

    def to_vtt(self, *, highlight_words: bool = False, max_words_per_line: int | None = None) -> str:
        """WebVTT subtitles. For the options see `SubtitleStyle`."""
        return formats.vtt(self.segments, SubtitleStyle(highlight_words, max_words_per_line))

    def to_tsv(self) -> str:
        """A table of start and end in milliseconds, and text."""
        return formats.tsv(self.segments)

    def to_json(self) -> str:
        """All data: segments with tokens and log-probabilities, and words if there are any."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"

    def render(self, name: str, *, highlight_words: bool = False, max_words_per_line: int | None = None) -> str:
        """The transcript in a format: txt, srt, vtt, tsv or json. For the options see `SubtitleStyle`.

        Raises ConfigError for an unknown format.
        """
        formats.check_format(name)
        if name in formats.SUBTITLES:
            subtitles = self.to_srt if name == "srt" else self.to_vtt
            return subtitles(highlight_words=highlight_words, max_words_per_line=max_words_per_line)
        plain = {"txt": self.to_txt, "tsv": self.to_tsv, "json": self.to_json}
        return plain[name]()

    def save(self, path: str | Path, *, highlight_words: bool = False, max_words_per_line: int | None = None) -> None:
        """Write a file in the format of its extension: "talk.srt". For the options see `SubtitleStyle`.

        Raises ConfigError for an unknown extension, before anything is written.
        """
        path = Path(path)
        extension = path.suffix.removeprefix(".").lower()
        text = self.render(extension, highlight_words=highlight_words, max_words_per_line=max_words_per_line)
        with replacing_file(path) as partial:
            partial.write_bytes(text.encode())

    @classmethod
    def load(cls, path: str | Path) -> Transcript:
        """Read a transcript from the JSON file that `save` or `zoo transcribe` wrote. Raises ZooError."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise ZooError(f"{path}: cannot be read ({error.strerror or error})") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ZooError(f"{path}: not the JSON of a transcript ({error})") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain values, including the whole text."""
        return {"text": self.text, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Transcript:
        """The inverse of `to_dict`."""
        segments = [
            Segment(**{**segment, "words": segment["words"] and [Word(**word) for word in segment["words"]]})
            for segment in values["segments"]
        ]
        other = {key: value for key, value in values.items() if key not in ("text", "segments")}
        return cls(segments=segments, **other)
