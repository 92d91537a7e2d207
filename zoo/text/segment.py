"""Segments and words of a transcript."""

from __future__ import annotations

from dataclasses import dataclass, field


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
