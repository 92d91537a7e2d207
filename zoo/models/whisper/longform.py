"""Transcription of recordings of any length and number.

    recordings -> spans of speech -> cursors -> windows, longest first -> batches -> decode -> cursors -> transcripts
                                        ^------- windows that begin where these ended -------'

Windows of different recordings share a batch; no window depends on the others in it. Legend: S samples, M mel frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from zoo import audio
from zoo.audio import Clip
from zoo.audio.vad import VoiceActivity, windows
from zoo.errors import ConfigError
from zoo.io.threads import core_pool
from zoo.models.whisper.config import CONTEXTS
from zoo.models.whisper.decoding import Decoded, DecodingOptions, decode
from zoo.models.whisper.decoding.language import check_languages, one_for_each
from zoo.models.whisper.decoding.repetition import doubled
from zoo.models.whisper.scheduler import BatchScheduler
from zoo.models.whisper.segmenters import FRAME, RATE, ChunkedSegmenter, Segmenter, SequentialSegmenter, Window, Words
from zoo.models.whisper.segments import Cut
from zoo.models.whisper.timing import find_words
from zoo.nn.eval_mode import eval_mode
from zoo.text.transcript import Transcript

MODES = ("batched", "sequential")
JOIN_SECONDS = 2.0  # pauses up to this length do not end a window in mode "batched"
EDGE = 2  # mel frames beside a window that its own see
Heard = list[tuple[Window, Decoded, Cut, Words]]


@dataclass(frozen=True)
class LongformOptions:
    """How recordings are transcribed, besides how a window is decoded.

    mode: "batched" cuts at pauses into windows of at most 30 s, decoded independently of each other, and again what a
        text leaves out at its end; "sequential" lets each window begin where the last segment of the one before ended,
        as published.
    condition_on_previous_text: gives each window the text so far; "sequential" only.
    batch_size: windows decoded together at most, None = what memory and cores allow, see `BatchScheduler`.
    context: "full", "clip" or None for the model's own.
    """

    mode: str = "batched"
    vad: VoiceActivity = field(default_factory=VoiceActivity)
    condition_on_previous_text: bool = False
    word_timestamps: bool = False
    batch_size: int | None = None
    context: str | None = None
    decoding: DecodingOptions = field(default_factory=DecodingOptions)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"mode {self.mode!r} is unknown; choose one of {', '.join(MODES)}")
        if self.condition_on_previous_text and self.mode != "sequential":
            raise ConfigError('condition_on_previous_text needs mode="sequential": batched windows know no other')
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch_size {self.batch_size}: at least 1")
        if self.context not in (None, *CONTEXTS):
            raise ConfigError(f"context {self.context!r} is unknown; choose one of {', '.join(CONTEXTS)}")

    @classmethod
    def of(cls, *, vad: str | VoiceActivity = "auto", temperature: Any = None, **options: Any) -> LongformOptions:
        """From the keyword arguments of `transcribe`. Raises ConfigError, naming the option."""
        own = {f.name for f in fields(cls)} - {"decoding", "vad"}
        known = {f.name for f in fields(DecodingOptions)} - {"temperatures"}
        if unknown := sorted(options.keys() - own - known):
            every = sorted(own | known | {"language", "prefix", "prompt", "temperature", "vad"})
            raise ConfigError(f"unknown option {unknown[0]!r}; options are {', '.join(every)}")
        chosen = {name: value for name, value in options.items() if name in known}
        if temperature is not None:
            chosen["temperatures"] = _numbers(temperature)
        activity = vad if isinstance(vad, VoiceActivity) else VoiceActivity(vad)
        rest = {name: value for name, value in options.items() if name in own}
        return cls(vad=activity, decoding=DecodingOptions(**chosen), **rest)


def _numbers(temperature: Any) -> tuple[float, ...]:
    several = temperature if isinstance(temperature, (tuple, list)) else (temperature,)
    try:
        return tuple(float(number) for number in several)
    except (TypeError, ValueError):
        raise ConfigError(f"temperature {temperature!r}: give a number, or a list of them to try in turn") from None


def transcribe(
    model: Any,
    waves: Any,
    sample_rate: int | None = None,
    *,
    language: str | Sequence[str | None] | None = None,
    prompt: str | Sequence[int] | None = None,
    prefix: str | Sequence[int] | None = None,
    progress: Callable[[float], None] | None = None,
    **options: Any,
) -> Transcript | list[Transcript]:
    """Transcripts of any number of recordings of any lengths; the same whether they come together or alone.

    waves, sample_rate: as for `Encoder.encode`. language: code, one for each recording, or None to identify it.
    prompt: text or ids that precede each recording (names, spelling, style); prefix: that its first window begins with.
    progress: called with seconds of audio that are done; silence that no window hears is not counted.
    options: fields of `LongformOptions` and `DecodingOptions`; vad "auto", "silero", "energy", "none" or a
        `VoiceActivity`; temperature, a number or several to be tried in turn.

    Returns a Transcript for a single input, else a list. Raises ConfigError for options that the model or the mode
    cannot honor, MissingDependencyError for a detector that is not installed, both before any recording is read;
    AudioError, naming the item.
    """
    settings = LongformOptions.of(**options)
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise ConfigError(
            f"{model.name or model.family} has no tokenizer, and so cannot write: put the tokenizer.json that it was "
            f"trained with beside its weights and load it again (zoo.create gives models without one)"
        )
    language = check_languages(language, tokenizer.languages, settings.decoding.task)
    before, beginning = _ids(tokenizer, prompt), _ids(tokenizer, prefix)
    settings.vad.check()
    clips, single = audio.as_clips(waves, sample_rate, RATE)
    languages = one_for_each(language, len(clips))
    cursors = [
        _cursor(model, clip, settings, code, before, beginning) for clip, code in zip(clips, languages, strict=True)
    ]
    _run(model, cursors, settings, progress or (lambda seconds: None))
    transcripts = [cursor.transcript() for cursor in cursors]
    return transcripts[0] if single else transcripts


def _ids(tokenizer: Any, text: str | Sequence[int] | None) -> tuple[int, ...]:
    if text is None:
        return ()
    return tuple(tokenizer.encode(" " + text.strip()) if isinstance(text, str) else text)


def _cursor(
    model: Any,
    clip: Clip,
    settings: LongformOptions,
    language: str | None,
    prompt: tuple[int, ...],
    prefix: tuple[int, ...],
) -> Segmenter:
    chances = settings.vad.probabilities(clip)
    spans = settings.vad.spans(chances, len(clip))
    longest = model.config.audio_ctx * 2 * FRAME
    if settings.mode == "sequential":
        return SequentialSegmenter(
            clip,
            model,
            settings.decoding,
            language,
            prompt,
            prefix,
            spans=spans,
            longest=longest,
            condition=settings.condition_on_previous_text,
        )
    cuts = windows(spans, chances, longest - FRAME, JOIN_SECONDS * RATE)
    if prefix and len(cuts) > 1:
        raise ConfigError('prefix: goes with recordings of one window in mode "batched"; use mode="sequential"')
    speech = None if settings.vad.detector == "none" else chances >= settings.vad.threshold
    return ChunkedSegmenter(clip, model, settings.decoding, language, prompt, prefix, cuts=cuts, speech=speech)


def _run(
    model: Any, cursors: Sequence[Segmenter], settings: LongformOptions, progress: Callable[[float], None]
) -> None:
    """Decode until no cursor has a window left; the longest first, so that a batch ends together."""
    ready = [window for cursor in cursors for window in cursor.windows()]
    known = len(ready) + sum(len(cursor.rest) for cursor in cursors)
    share = BatchScheduler.of(model, settings.context or model.context, settings.decoding, settings.batch_size, known)
    running: set[Future[Heard]] = set()
    with eval_mode(model), core_pool(share.workers, "zoo-transcribe", share.cores) as pool:
        while ready or running:
            ready.sort(key=lambda window: window.start - window.stop)
            while ready and len(running) < share.workers:
                size = share.batch_size(ready)
                batch, ready = ready[:size], ready[size:]
                running.add(pool.submit(_hear, model, batch, settings))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for window, result, cut, words in (heard for future in done for heard in future.result()):
                following = window.cursor.take(window, result, cut, words)
                ready += following
                progress(_passed(window, following))


def _passed(window: Window, following: Sequence[Window]) -> float:
    """Seconds of a window that none of the following ones of its recording hears again."""
    again = sum(max(0, min(w.stop, window.stop) - max(w.start, window.start)) for w in following)
    return (window.stop - window.start - again) / RATE


def _hear(model: Any, batch: Sequence[Window], settings: LongformOptions) -> Heard:
    """What became of each window, its segments and their words."""
    results, states = _decode(model, batch, settings)
    cuts = [window.cursor.cut(window, result) for window, result in zip(batch, results, strict=True)]
    words = _words(model, states, batch, results, cuts, settings)
    return list(zip(batch, results, cuts, words, strict=True))


def _decode(model: Any, batch: Sequence[Window], settings: LongformOptions) -> tuple[list[Decoded], Any]:
    """What became of each window, and the states that were listened to.

    Models that were taught on 30 s sometimes fail in context "clip", or say the same twice in a row: that is heard
    again in "full" before the temperature rises.
    """
    options, context = settings.decoding, settings.context or model.context
    states = listen(model, batch, context)
    if context == "clip" and not model.config.taught_on_clips:
        results = decode(model, states, [w.request for w in batch], options, options.temperatures[:1])
        failed = [i for i, result in enumerate(results) if result.failed(options) or doubled(result.text)]
        if failed:
            again = [batch[i] for i in failed]
            second = decode(model, listen(model, again, "full"), [w.request for w in again], options)
            for i, result in zip(failed, second, strict=True):
                results[i] = result
    else:
        results = decode(model, states, [w.request for w in batch], options)
    return results, states


def _words(
    model: Any,
    states: Any,
    batch: Sequence[Window],
    results: Sequence[Decoded],
    cuts: Sequence[Cut],
    settings: LongformOptions,
) -> Sequence[Words]:
    """Word times of each window's segments, where they are wanted."""
    if not settings.word_timestamps:
        return [None] * len(batch)
    eot = model.tokenizer.eot
    texts = [[[t for t in piece.tokens if t < eot] for piece in cut.pieces] for cut in cuts]
    languages, seconds = [result.language for result in results], [window.seconds for window in batch]
    return find_words(model, states, texts, languages, seconds, settings.decoding)


def listen(model: Any, batch: Sequence[Window], context: str) -> Any:
    """Encoder states of windows. In context "full" their mel is followed by zeros up to 30 s, as openai-whisper has it;
    in "clip" by a second of silence.
    """
    with torch.no_grad():
        if context == "clip":
            waves = [w.cursor.clip[w.start : w.stop].to(model.device) for w in batch]
            return model.encode_windows(waves, context=context)
        mels = [_mel(model, w.cursor.clip, w.start, w.stop, w.peak) for w in batch]
        size = max(len(mel) for mel in mels)
        padded = [torch.nn.functional.pad(mel, (0, 0, 0, size - len(mel))) for mel in mels]
        return model.encode_mel(torch.stack(padded))


def _mel(model: Any, clip: Clip, start: int, stop: int, peak: Tensor | None) -> Tensor:
    """Log-mel (M, N) of samples start ... stop (start in whole frames); frames at the edges see the samples beyond."""
    first = max(0, start - EDGE * FRAME)
    power = next(model.mel.blocks(clip[first : stop + EDGE * FRAME].to(model.device)))
    peak = power.amax() if peak is None else peak[0].to(power)
    skipped = (start - first) // FRAME
    return model.mel.compress(power[skipped : skipped + (stop - start) // FRAME], peak)
