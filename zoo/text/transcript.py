"""What transcription gives: text with times. Plain data, as it goes into JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Word:
    """One word with its leading space, if it has one. start, end: seconds; probability: mean over its tokens."""

    text: str
    start: float
    end: float
    probability: float


@dataclass
class Segment:
    """A stretch of speech. start, end: seconds into the recording.

    text: as the model wrote it, leading space included; tokens: ids, timestamps among them.
    temperature: that the accepted attempt was sampled with; log_probability: mean over its tokens;
    compression_ratio: of the whole window's text, high where it repeats itself; no_speech: probability of silence.
    words: where word times were asked for.
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

    language: code such as "en"; language_probability: 1.0 where the caller named it.
    """

    language: str
    duration: float
    segments: list[Segment] = field(default_factory=list)
    language_probability: float = 1.0

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()

    @property
    def words(self) -> list[Word]:
        """All words, where word times were asked for."""
        return [word for segment in self.segments for word in segment.words or ()]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the text among them."""
        return {"text": self.text, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Transcript:
        """The inverse of `to_dict`."""
        segments = [
            Segment(**{**segment, "words": segment["words"] and [Word(**word) for word in segment["words"]]})
            for segment in values["segments"]
        ]
        rest = {key: value for key, value in values.items() if key not in ("text", "segments")}
        return cls(segments=segments, **rest)
