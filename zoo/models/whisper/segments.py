"""Decoded tokens -> segments with times, and where the next window begins. As published in openai-whisper's transcribe.

Two timestamps in a row end a segment and begin the next. What follows the last pair is cut off by the window's end; it
is decoded again, in a window that begins there.
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
    """The segments of a window, the seconds of it that are done with, and whether the model said that no speech
    follows: by a timestamp without a twin at the end.
    """

    pieces: list[TokenSegment]
    done: float
    closed: bool


def split(tokens: Sequence[int], begin_stamps: int, seconds: float) -> Cut:
    """Cut the tokens of a window of so many seconds."""
    stamps = [token >= begin_stamps for token in tokens]
    ends_alone = stamps[-2:] == [False, True]
    cuts = [i for i in range(1, len(tokens)) if stamps[i - 1] and stamps[i]]
    if not cuts:
        # openai-whisper takes the last stamp for the end even where it is the one that opens the text.
        end = (tokens[-1] - begin_stamps) * STAMP_SECONDS if ends_alone else seconds
        return Cut([TokenSegment(list(tokens), 0.0, end)], seconds, ends_alone)
    if ends_alone:
        cuts.append(len(tokens))
    pieces = []
    for a, b in zip([0, *cuts], cuts, strict=False):
        start, end = (max(0, tokens[i] - begin_stamps) * STAMP_SECONDS for i in (a, b - 1))  # a prefix has no stamp
        pieces.append(TokenSegment(list(tokens[a:b]), start, end))
    return Cut(pieces, seconds if ends_alone else pieces[-1].end, ends_alone)


def split_all(tokens: Sequence[int], begin_stamps: int, seconds: float) -> Cut:
    """As `split` for a window that nothing follows: what comes after the last pair is a segment to the window's end."""
    cut = split(tokens, begin_stamps, seconds)
    pieces = cut.pieces
    rest = list(tokens[sum(len(piece.tokens) for piece in pieces) :])
    if any(token < begin_stamps for token in rest):
        start = (rest[0] - begin_stamps) * STAMP_SECONDS if rest[0] >= begin_stamps else pieces[-1].end
        pieces.append(TokenSegment(rest, start, max(start, seconds)))
    return Cut(pieces, seconds, True)


def has_text(piece: TokenSegment, decode: Callable[[Sequence[int]], str]) -> bool:
    """Whether a segment is more than an instant and holds more than spaces."""
    return piece.end > piece.start and bool(decode(piece.tokens).strip())
