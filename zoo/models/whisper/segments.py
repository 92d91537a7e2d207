"""Decoded tokens -> segments with times, and the start of the next window, as in openai-whisper's transcribe.

Two timestamps in a row end a segment and begin the next one. The text after the last pair is cut off by the end of the
window. It is decoded again, in a window that begins there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

STAMP_SECONDS = 0.02


@dataclass
class TokenSegment:
    """Tokens of one segment and its times in seconds from the start of the window."""

    tokens: list[int]
    start: float
    end: float


@dataclass
class Cut:
    """The segments of a window.

    done: seconds of the window that need no further decoding; closed: whether the text ends with a single timestamp,
    which means that no speech follows.
    """

    segments: list[TokenSegment]
    done: float
    closed: bool


def split(tokens: Sequence[int], begin_stamps: int, seconds: float) -> Cut:
    """Cut the tokens of a window of so many seconds."""
    stamps = [token >= begin_stamps for token in tokens]
    ends_alone = stamps[-2:] == [False, True]
    cuts = [i for i in range(1, len(tokens)) if stamps[i - 1] and stamps[i]]
    if not cuts:
        # openai-whisper takes the last timestamp for the end, even if it is the first one of the text.
        end = (tokens[-1] - begin_stamps) * STAMP_SECONDS if ends_alone else seconds
        return Cut([TokenSegment(list(tokens), 0.0, end)], seconds, ends_alone)
    if ends_alone:
        cuts.append(len(tokens))
    segments = []
    for a, b in zip([0, *cuts], cuts, strict=False):
        start, end = (max(0, tokens[i] - begin_stamps) * STAMP_SECONDS for i in (a, b - 1))  # a prefix has no stamp
        segments.append(TokenSegment(list(tokens[a:b]), start, end))
    return Cut(segments, seconds if ends_alone else segments[-1].end, ends_alone)


def split_all(tokens: Sequence[int], begin_stamps: int, seconds: float) -> Cut:
    """As `split`, but no window follows: the text after the last pair is a segment that ends with the window."""
    cut = split(tokens, begin_stamps, seconds)
    segments = cut.segments
    remaining = list(tokens[sum(len(segment.tokens) for segment in segments) :])
    if any(token < begin_stamps for token in remaining):
        start = (remaining[0] - begin_stamps) * STAMP_SECONDS if remaining[0] >= begin_stamps else segments[-1].end
        segments.append(TokenSegment(remaining, start, max(start, seconds)))
    return Cut(segments, seconds, True)


def has_text(segment: TokenSegment, decode: Callable[[Sequence[int]], str]) -> bool:
    """Whether a segment has a duration and a text that is not only spaces."""
    return segment.end > segment.start and bool(decode(segment.tokens).strip())
