"""How a recording is walked through in windows: one after the other by its timestamps, or all at once by its pauses.

Legend: S samples, T frames of 32 ms. Times count in samples at 16 kHz, frames are 160 samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from zoo.audio import Clip
from zoo.audio.vad import FRAME as SPEECH_FRAME
from zoo.audio.vad import Span
from zoo.models.whisper.decoding import Decoded, DecodingOptions, DecodingRequest
from zoo.models.whisper.segments import Cut, has_text, split, split_all
from zoo.text.transcript import Segment, Transcript, Word

RATE = 16_000
FRAME = 160  # samples of one mel frame, in which windows begin and end
LEAST_STEP = 3_200  # samples: without it, a decoder that babbles could take 50 windows for a second
LEAST_UNHEARD = 1.0  # seconds of speech after a text that are worth another window
HOT = 0.5  # above this temperature a text is no context for the next
Words = Sequence[list[Word]] | None
"""Of the segments of a window, in seconds from its start; None where they were not asked for."""


@dataclass(eq=False)
class Window:
    """Samples start ... stop of a clip, to be decoded on behalf of `cursor`. peak: `norm_stats` of the clip, where its
    windows are normalized by it."""

    cursor: Segmenter
    start: int
    stop: int
    request: DecodingRequest
    peak: Tensor | None = None

    @property
    def seconds(self) -> float:
        return (self.stop - self.start) / RATE


class Segmenter(Protocol):
    """The state of one recording."""

    clip: Clip
    rest: list[Window]
    """Windows that wait for the first one."""

    def windows(self) -> list[Window]:
        """The windows that can be decoded from the start."""
        ...

    def cut(self, window: Window, decoded: Decoded) -> Cut:
        """The segments of a window."""
        ...

    def take(self, window: Window, decoded: Decoded, cut: Cut, words: Words) -> list[Window]:
        """Keep what became of a window; returns those that can be decoded now."""
        ...

    def transcript(self) -> Transcript:
        """All segments in order."""
        ...


@dataclass(eq=False)
class Recording:
    """What both cursors share. prompt, prefix: ids."""

    clip: Clip
    model: Any
    options: DecodingOptions
    language: str | None
    prompt: tuple[int, ...] = ()
    prefix: tuple[int, ...] = ()
    certainty: float = 1.0
    segments: list[Segment] = field(default_factory=list)
    rest: list[Window] = field(default_factory=list)

    def _learn_language(self, decoded: Decoded) -> None:
        if self.language is None:
            self.language, self.certainty = decoded.language, decoded.language_probability

    def _keep(self, window: Window, decoded: Decoded, cut: Cut, words: Words) -> list[Segment]:
        """Segments of a window in seconds of the recording, inside the window; those without text are left out."""
        tokenizer, offset = self.model.tokenizer, window.start / RATE
        kept, here = [], 0.0
        for i, piece in enumerate(cut.pieces):
            own = None if words is None else words[i]
            if not has_text(piece, tokenizer.decode):
                continue
            start, end = min(piece.start, window.seconds), min(piece.end, window.seconds)
            if own:
                start, end = own[0].start, own[-1].end
            start = max(start, here)
            end = here = max(end, start)
            for word in own or ():
                word.start, word.end = round(offset + word.start, 3), round(offset + word.end, 3)
                word.probability = round(word.probability, 4)
            kept.append(
                Segment(
                    start=round(offset + start, 3),
                    end=round(offset + end, 3),
                    text=tokenizer.decode(piece.tokens),
                    tokens=piece.tokens,
                    temperature=decoded.temperature,
                    log_probability=round(decoded.log_probability, 4),
                    compression_ratio=round(decoded.compression_ratio, 4),
                    no_speech=round(decoded.no_speech, 4),
                    words=own,
                )
            )
        return kept

    def transcript(self) -> Transcript:
        """See Cursor."""
        # They come as windows end; one without duration at a border belongs before what begins there.
        segments = sorted(self.segments, key=lambda segment: (segment.start, segment.end))
        return Transcript(self.language or "", len(self.clip) / RATE, segments, round(self.certainty, 4))


@dataclass(eq=False)
class SequentialSegmenter(Recording):
    """Each window begins where the last whole segment of the one before ended: openai-whisper's transcribe.

    spans: of speech; a window does not reach beyond the span it begins in.
    """

    spans: Sequence[Span] = ()
    longest: int = 30 * RATE
    condition: bool = False
    tail: list[int] = field(default_factory=list)  # the prompt so far
    peak: Tensor | None = None

    def windows(self) -> list[Window]:
        """See Cursor."""
        self.tail = list(self.prompt)
        self.ends = [stop // FRAME * FRAME for _, stop in self.spans]
        return self._next(0)

    def _next(self, place: int) -> list[Window]:
        """The window that begins at `place`, or at the next span."""
        for (start, _), end in zip(self.spans, self.ends, strict=True):
            start = max(start // FRAME * FRAME, place)
            if start < end:
                break
        else:
            return []
        stop = min(start + self.longest, end)
        whole = start == 0 and stop == len(self.clip) // FRAME * FRAME
        if self.peak is None and not whole:
            self.peak = self.model.norm_stats(self.clip)
        request = DecodingRequest(self.language, tuple(self.tail), () if self.segments else self.prefix, start)
        return [Window(self, start, stop, request, self.peak)]

    def cut(self, window: Window, decoded: Decoded) -> Cut:
        """See Cursor."""
        tokens = [*window.request.prefix, *decoded.tokens]
        return split(tokens, self.model.tokenizer.timestamp_begin, window.seconds)

    def take(self, window: Window, decoded: Decoded, cut: Cut, words: Words) -> list[Window]:
        """See Cursor."""
        self._learn_language(decoded)
        if decoded.silent(self.options):
            return self._next(window.stop)
        kept, done = self._keep(window, decoded, cut, words), cut.done
        self.segments += kept
        if not self.condition or decoded.temperature > HOT:
            self.tail = []
        else:
            self.tail += [token for segment in kept for token in segment.tokens]
        if words and not cut.closed and kept and kept[-1].end * RATE > window.start:
            done = kept[-1].end - window.start / RATE  # the end of the last word is known better
        # Times behind the window are made up, and what lies there is another's.
        advance = round(min(done, window.seconds) * RATE / FRAME) * FRAME
        return self._next(window.stop if advance <= 0 else window.start + max(advance, LEAST_STEP))


@dataclass(eq=False)
class ChunkedSegmenter(Recording):
    """Windows cut at pauses, decoded independently of each other, many at a time.

    speech (T,): frames of vad.FRAME samples that hold speech, None = unknown. Where a text ends though much of it
    follows, what follows is a window of its own: a decoder that is led to the end by pauses leaves out whole sentences.
    """

    cuts: Sequence[Span] = ()
    speech: Tensor | None = None

    def windows(self) -> list[Window]:
        """See Cursor. Where the language is unknown the first window comes alone, and tells it to the others."""
        borders = [(start // FRAME * FRAME, stop // FRAME * FRAME) for start, stop in self.cuts]
        self.rest = [
            Window(self, start, stop, DecodingRequest(self.language, self.prompt, self.prefix, start))
            for start, stop in borders
            if start < stop
        ]
        first = self.rest if self.language is not None else self.rest[:1]
        self.rest = self.rest[len(first) :]
        return first

    def cut(self, window: Window, decoded: Decoded) -> Cut:
        """See Cursor."""
        tokens = [*window.request.prefix, *decoded.tokens]
        return split_all(tokens, self.model.tokenizer.timestamp_begin, window.seconds)

    def take(self, window: Window, decoded: Decoded, cut: Cut, words: Words) -> list[Window]:
        """See Cursor."""
        self._learn_language(decoded)
        ready, self.rest = self.rest, []
        for waiting in ready:
            waiting.request = DecodingRequest(self.language, self.prompt, self.prefix, waiting.start)
        if decoded.silent(self.options):
            return ready
        kept = self._keep(window, decoded, cut, words)
        self.segments += kept
        return ready + self._unheard(window, kept)

    def _unheard(self, window: Window, kept: Sequence[Segment]) -> list[Window]:
        """A window of what follows the text, if that is speech."""
        if not kept or self.speech is None:
            return []
        end = round(kept[-1].end * RATE / FRAME) * FRAME
        left = self.speech[end // SPEECH_FRAME : window.stop // SPEECH_FRAME]
        if end < window.start + LEAST_STEP or int(left.sum()) * SPEECH_FRAME < LEAST_UNHEARD * RATE:
            return []
        return [Window(self, end, window.stop, DecodingRequest(self.language, self.prompt, place=end))]
