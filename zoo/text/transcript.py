"""Result of transcription: text with times, as plain data for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Word:
    """One word, with its leading space if it has one. start, end: seconds; probability: mean over its tokens."""

    text: str
    start: float
    end: float
    probability: float


@dataclass
class Segment:
    """A stretch of speech. start, end: seconds into the recording.

    text: of the model, leading space included; tokens: ids, timestamps included.
    temperature: of the accepted attempt; log_probability: mean over its tokens;
    compression_ratio: of the text of the whole window, high for a text that repeats itself;
    no_speech: probability of silence; words: None without word timestamps.
    """

    start: float
    end: float
    text: str
    tokens: list[int] = field(default_factory=list)
    temperature: float = 0.0
    log_probability: float = 0.0
    compression_ratio: float = 0.0
    no_speech: float = 0.0
    words: list[Word] | None = None


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
