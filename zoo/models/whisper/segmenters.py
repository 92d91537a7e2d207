"""Cuts a recording into windows: one after the other at its timestamps, or all at once at its pauses.

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
JOIN_SECONDS = 2.0  # speech after a longer pause is another stretch
MIN_STEP = 3_200  # samples; without it a decoder that repeats itself could take 50 windows for one second
MIN_MISSED_SPEECH = 1.0  # seconds of speech after a text; with less, no further window is decoded
MAX_CONTEXT_TEMPERATURE = 0.5  # a text that was sampled at a higher temperature is no prompt for the next window
Words = Sequence[list[Word]] | None
"""Words of each segment of a window, in seconds from its start; None without word timestamps."""


@dataclass(eq=False)
class Window:
    """Samples start ... stop of a clip; `segmenter` receives the decoded text.

    peak: `norm_stats` of the clip, if its windows are normalized by them.
    """

    segmenter: Segmenter
    start: int
    stop: int
    request: DecodingRequest
    peak: Tensor | None = None

    @property
    def seconds(self) -> float:
        return (self.stop - self.start) / RATE


class Segmenter(Protocol):
    """Makes the windows of one recording, and a transcript from their texts."""

    clip: Clip
    language: str | None
    language_probability: float
    spans: Sequence[Span]

    @property
    def has_several_windows(self) -> bool:
        """Whether the first window does not cover all of the speech."""
        ...

    def windows(self) -> list[Window]:
        """The windows that can be decoded first."""
        ...

    def cut(self, window: Window, decoded: Decoded) -> Cut:
        """The segments of a window."""
        ...

    def consume(self, window: Window, decoded: Decoded, cut: Cut, words: Words) -> list[Window]:
        """Add the text of a window to the transcript; returns the windows that can be decoded now."""
        ...

    def transcript(self) -> Transcript:
        """All segments in order."""
        ...


@dataclass(eq=False)
class RecordingSegmenter:
    """Base of both segmenters. prompt, prefix: ids; spans: of speech, in order.

    language: None to identify it in the first window, which covers all of the speech then.
    """

    clip: Clip
    model: Any
    options: DecodingOptions
    language: str | None
    prompt: tuple[int, ...] = ()
    prefix: tuple[int, ...] = ()
    language_probability: float = 1.0
    segments: list[Segment] = field(default_factory=list)
    spans: Sequence[Span] = ()

    @property
    def has_several_windows(self) -> bool:
        """See Segmenter."""
        return len(self.spans) > 1

    def _set_language(self, decoded: Decoded) -> None:
        if self.language is None:
            self.language, self.language_probability = decoded.language, decoded.language_probability

    def _segments(self, window: Window, decoded: Decoded, cut: Cut, words: Words) -> list[Segment]:
        """Segments of a window with times in seconds of the recording, inside the window.

        Segments without text or duration are left out: they lie behind the window, where nothing was heard.
        """
        tokenizer, offset = self.model.tokenizer, window.start / RATE
        segments, previous_end = [], 0.0
        for i, part in enumerate(cut.segments):
            part_words = None if words is None else words[i]
            if not has_text(part, tokenizer.decode):
                continue
            start, end = min(part.start, window.seconds), min(part.end, window.seconds)
            if part_words and part_words[0].start < part_words[-1].end:
                start, end = part_words[0].start, part_words[-1].end
            start = max(start, previous_end)
            if end <= start:
                continue
            previous_end = end
            for word in part_words or ():
                word.start, word.end = round(offset + word.start, 3), round(offset + word.end, 3)
                word.probability = round(word.probability, 4)
            segments.append(
                Segment(
                    start=round(offset + start, 3),
                    end=round(offset + end, 3),
                    text=tokenizer.decode(part.tokens),
                    tokens=part.tokens,
                    temperature=decoded.temperature,
                    log_probability=round(decoded.log_probability, 4),
                    compression_ratio=round(decoded.compression_ratio, 4),
                    no_speech=round(decoded.no_speech, 4),
                    words=part_words,
                )
            )
        return segments

    def transcript(self) -> Transcript:
        """See Segmenter."""
        segments = sorted(self.segments, key=lambda segment: segment.start)  # windows end in any order
        return Transcript(self.language or "", len(self.clip) / RATE, segments, round(self.language_probability, 4))


@dataclass(eq=False)
class SequentialSegmenter(RecordingSegmenter):
    """Each window begins at the end of the last whole segment of the window before, as in openai-whisper.

    A window ends with its span at the latest. longest: samples of a window.
    condition: whether the text so far is the prompt of the next window.
    """

    longest: int = 30 * RATE
    condition: bool = False
    context: list[int] = field(default_factory=list)  # ids of the prompt and the text so far
    peak: Tensor | None = None

    @property
    def has_several_windows(self) -> bool:
        """See Segmenter."""
        return len(self.spans) > 1 or any(stop - start > self.longest for start, stop in self.spans)

    def windows(self) -> list[Window]:
        """See Segmenter."""
        self.context = list(self.prompt)
        self.ends = [stop // FRAME * FRAME for _, stop in self.spans]
        return self._next(0)

    def _next(self, position: int) -> list[Window]:
        """The window that begins at this sample, or with the next span."""
        for (start, _), end in zip(self.spans, self.ends, strict=True):
            start = max(start // FRAME * FRAME, position)
            if start < end:
                break
        else:
            return []
        stop = min(start + self.longest, end)
        whole = start == 0 and stop == len(self.clip) // FRAME * FRAME
        if self.peak is None and not whole:
            self.peak = self.model.norm_stats(self.clip)
        request = DecodingRequest(self.language, tuple(self.context), () if self.segments else self.prefix, start)
        return [Window(self, start, stop, request, self.peak)]

    def cut(self, window: Window, decoded: Decoded) -> Cut:
        """See Segmenter."""
        tokens = [*window.request.prefix, *decoded.tokens]
        return split(tokens, self.model.tokenizer.timestamp_begin, window.seconds)

    def consume(self, window: Window, decoded: Decoded, cut: Cut, words: Words) -> list[Window]:
        """See Segmenter."""
        self._set_language(decoded)
        if decoded.silent(self.options):
            return self._next(window.stop)
        segments, done = self._segments(window, decoded, cut, words), cut.done
        self.segments += segments
        # Where every temperature failed, the last one counts, whichever text was kept.
        last_temperature = self.options.temperatures[-1] if decoded.failed(self.options) else decoded.temperature
        if not self.condition or last_temperature > MAX_CONTEXT_TEMPERATURE:
            self.context = []
        else:
            self.context += [token for segment in segments for token in segment.tokens]
        if words and not cut.closed and segments and segments[-1].end * RATE > window.start:
            done = segments[-1].end - window.start / RATE  # the end of the last word is more exact
        # The model cannot know times after the window. Another window covers them.
        advance = round(min(done, window.seconds) * RATE / FRAME) * FRAME
        return self._next(window.stop if advance <= 0 else window.start + max(advance, MIN_STEP))


@dataclass(eq=False)
class ChunkedSegmenter(RecordingSegmenter):
    """Windows cut at pauses, decoded independently of each other, many at a time.

    spans: start and stop of each window. speech (T,): whether each frame of vad.FRAME samples holds speech, None =
    unknown. If a text ends long before the speech of its window, another window covers the speech that is missed: at a
    pause a decoder sometimes stops and leaves out whole sentences.
    """

    speech: Tensor | None = None

    def windows(self) -> list[Window]:
        """See Segmenter."""
        borders = [(start // FRAME * FRAME, stop // FRAME * FRAME) for start, stop in self.spans]
        return [
            Window(self, start, stop, DecodingRequest(self.language, self.prompt, self.prefix, start))
            for start, stop in borders
            if start < stop
        ]

    def cut(self, window: Window, decoded: Decoded) -> Cut:
        """See Segmenter."""
        tokens = [*window.request.prefix, *decoded.tokens]
        return split_all(tokens, self.model.tokenizer.timestamp_begin, window.seconds)

    def consume(self, window: Window, decoded: Decoded, cut: Cut, words: Words) -> list[Window]:
        """See Segmenter."""
        self._set_language(decoded)
        if decoded.silent(self.options):
            return []
        segments = self._segments(window, decoded, cut, words)
        self.segments += segments
        return self._missed_speech(window, segments)

    def _missed_speech(self, window: Window, segments: Sequence[Segment]) -> list[Window]:
        """A window from the end of the text to the end of its window, if that holds speech."""
        if not segments or self.speech is None:
            return []
        end = round(segments[-1].end * RATE / FRAME) * FRAME
        after = self.speech[end // SPEECH_FRAME : window.stop // SPEECH_FRAME]
        if end < window.start + MIN_STEP or int(after.sum()) * SPEECH_FRAME < MIN_MISSED_SPEECH * RATE:
            return []
        return [Window(self, end, window.stop, DecodingRequest(self.language, self.prompt, start=end))]
