"""Transcription of recordings of any length and number.

    recordings -> spans of speech -> segmenters -> windows, longest first -> batches -> decode -> segmenters -> texts
                                                      ^--------------- next windows -----------------'

Windows of different recordings share a batch. No window depends on the others in it. Legend: S samples, M mel frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zoo import audio
from zoo.audio import Clip
from zoo.audio.vad import windows
from zoo.errors import ConfigError
from zoo.io.threads import core_pool
from zoo.models.whisper.decoding import Decoded, DecodingOptions, decode
from zoo.models.whisper.decoding.fallback import check_beam, check_prefix
from zoo.models.whisper.decoding.language import check_languages, one_for_each
from zoo.models.whisper.decoding.repetition import doubled
from zoo.models.whisper.language_detection import language_probabilities
from zoo.models.whisper.options import LongformOptions, to_ids
from zoo.models.whisper.scheduler import BatchScheduler
from zoo.models.whisper.segmenters import (
    FRAME,
    JOIN_SECONDS,
    RATE,
    ChunkedSegmenter,
    Segmenter,
    SequentialSegmenter,
    Window,
    Words,
)
from zoo.models.whisper.segments import Cut
from zoo.models.whisper.timing import find_words
from zoo.nn.eval_mode import eval_mode
from zoo.text.transcript import Transcript

EDGE = 2  # mel frames beside a window whose samples its own frames include
DecodedBatch = list[tuple[Window, Decoded, Cut, Words]]


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
    """Transcribe any number of recordings of any length. A transcript does not depend on the other recordings.

    waves, sample_rate: as for `Encoder.encode`. language: a code or a name ("es", "Spanish"), one for each
        recording, or None to identify it.
    prompt: text or ids that precede each recording (names, spelling, style); prefix: text or ids with which its first
        window begins.
    progress: called with the seconds of audio that are done; silence outside of all windows is not counted.
    options: fields of `LongformOptions` and `DecodingOptions`. vad: "auto", "silero", "energy", "none" or a
        `VoiceActivity`. temperature: a number, or several that are tried in turn.

    Returns a Transcript for a single input, else a list. Raises ConfigError for options that the model or the mode does
    not support and MissingDependencyError for a detector that is not installed, both before any recording is read;
    AudioError, naming the item.
    """
    settings = LongformOptions.of(**options)
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise ConfigError(
            f"{model.name or model.family} has no tokenizer and cannot transcribe: put its tokenizer.json beside its "
            f"weights and load it again (zoo.create makes models without a tokenizer)"
        )
    language = check_languages(language, tokenizer.languages, settings.decoding.task)
    prompt_ids, prefix_ids = _checked_ids(model, settings.decoding, prompt, prefix)
    if progress is not None and not callable(progress):
        raise ConfigError(f"progress {progress!r}: give a function that gets the seconds that are done")
    settings.vad.check()
    clips, single = audio.as_clips(waves, sample_rate, RATE)
    languages = one_for_each(language, len(clips))
    segmenters = [
        _segmenter(model, clip, settings, code, prompt_ids, prefix_ids)
        for clip, code in zip(clips, languages, strict=True)
    ]
    _identify_languages(model, segmenters, settings)
    _run(model, segmenters, settings, progress or (lambda seconds: None))
    transcripts = [segmenter.transcript() for segmenter in segmenters]
    return transcripts[0] if single else transcripts


def _checked_ids(
    model: Any, options: DecodingOptions, prompt: Any, prefix: Any
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids of prompt and prefix. Raises ConfigError for what does not fit the model, before any work."""
    tokenizer, vocabulary = model.tokenizer, model.config.vocab_size
    check_beam(options.beam_size, vocabulary)
    beyond = [token for token in options.suppress_tokens if token >= vocabulary]
    if beyond:
        raise ConfigError(f"suppress_tokens: {beyond[0]} is not an id of this model; it has {vocabulary}")
    prompt_ids, prefix_ids = _ids(tokenizer, "prompt", prompt), _ids(tokenizer, "prefix", prefix)
    check_prefix(prefix_ids, model.config.text_ctx, tokenizer.eot)
    if prefix_ids and options.timestamps and prefix_ids[0] < tokenizer.timestamp_begin:
        prefix_ids = (tokenizer.timestamp_begin, *prefix_ids)  # without it a timestamp would have to follow the prefix
    return prompt_ids, prefix_ids


def _ids(tokenizer: Any, name: str, text: Any) -> tuple[int, ...]:
    """Ids of a text, or checked ids. Raises ConfigError, naming the option."""
    if text is None:
        return ()
    if isinstance(text, str):
        return tuple(tokenizer.encode(" " + text.strip()))
    if isinstance(text, (list, tuple)) and any(isinstance(part, str) for part in text):
        raise ConfigError(f"{name} {text!r}: give one text for all recordings, or the ids of its tokens")
    ids = to_ids(name, text)
    for token in ids:
        is_text = 0 <= token < tokenizer.eot
        if not is_text and not tokenizer.timestamp_begin <= token < len(tokenizer):
            raise ConfigError(f"{name}: {token} is not an id of a text token or a timestamp of this model")
    return ids


def _segmenter(
    model: Any,
    clip: Clip,
    settings: LongformOptions,
    language: str | None,
    prompt: tuple[int, ...],
    prefix: tuple[int, ...],
) -> Segmenter:
    probabilities = settings.vad.probabilities(clip)
    spans = settings.vad.spans(probabilities, len(clip))
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
    cuts = windows(spans, probabilities, longest - FRAME, JOIN_SECONDS * RATE)
    if prefix and len(cuts) > 1:
        raise ConfigError('prefix: mode "batched" supports it for recordings of one window only; use mode="sequential"')
    speech = None if settings.vad.detector == "none" else probabilities >= settings.vad.threshold
    return ChunkedSegmenter(clip, model, settings.decoding, language, prompt, prefix, spans=cuts, speech=speech)


def _identify_languages(model: Any, segmenters: Sequence[Segmenter], settings: LongformOptions) -> None:
    """Set the unknown languages of recordings of several windows. A single window identifies its own."""
    unknown = [one for one in segmenters if one.language is None and one.has_several_windows]
    if not unknown:
        return
    clips, spans = [one.clip for one in unknown], [one.spans for one in unknown]
    padding = settings.padding or model.padding
    best, indices = language_probabilities(model, clips, spans, padding, settings.batch_size).max(1)
    codes = list(model.tokenizer.languages)
    for one, probability, index in zip(unknown, best.tolist(), indices.tolist(), strict=True):
        one.language, one.language_probability = codes[index], probability


def _run(
    model: Any, segmenters: Sequence[Segmenter], settings: LongformOptions, progress: Callable[[float], None]
) -> None:
    """Decode all windows of all segmenters, the longest first, so that the windows of a batch end together."""
    ready = [window for segmenter in segmenters for window in segmenter.windows()]
    padding = settings.padding or model.padding
    scheduler = BatchScheduler.of(model, padding, settings.decoding, settings.batch_size, len(ready))
    running: set[Future[DecodedBatch]] = set()
    with eval_mode(model), core_pool(scheduler.workers, "zoo-transcribe", scheduler.cores) as pool:
        while ready or running:
            ready.sort(key=lambda window: window.start - window.stop)
            while ready and len(running) < scheduler.workers:
                size = scheduler.batch_size(ready)
                batch, ready = ready[:size], ready[size:]
                running.add(pool.submit(_transcribe_batch, model, batch, settings))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for window, result, cut, words in (row for future in done for row in future.result()):
                following = window.segmenter.consume(window, result, cut, words)
                ready += following
                progress(_seconds_done(window, following))


def _seconds_done(window: Window, following: Sequence[Window]) -> float:
    """Seconds of a window that the following windows of its recording do not cover again."""
    again = sum(max(0, min(w.stop, window.stop) - max(w.start, window.start)) for w in following)
    return (window.stop - window.start - again) / RATE


def _transcribe_batch(model: Any, batch: Sequence[Window], settings: LongformOptions) -> DecodedBatch:
    """The decoded text of each window, its segments and their words."""
    results, states = _decode(model, batch, settings)
    cuts = [window.segmenter.cut(window, result) for window, result in zip(batch, results, strict=True)]
    words = _words(model, states, batch, results, cuts, settings)
    return list(zip(batch, results, cuts, words, strict=True))


def _decode(model: Any, batch: Sequence[Window], settings: LongformOptions) -> tuple[list[Decoded], Any]:
    """The decoded text of each window, and the encoder states.

    Models that were trained on 30 s sometimes fail with padding "none", or write the same text twice in a row. Such
    windows are decoded again with padding "30s" before the temperature rises.
    """
    options, padding = settings.decoding, settings.padding or model.padding
    states = encode_batch(model, batch, padding)
    if padding == "none" and not model.config.trained_unpadded:
        results = decode(model, states, [w.request for w in batch], options, options.temperatures[:1])
        failed = [i for i, result in enumerate(results) if result.failed(options) or doubled(result.text)]
        if failed:
            again = [batch[i] for i in failed]
            second = decode(model, encode_batch(model, again, "30s"), [w.request for w in again], options)
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
    """Words of each window's segments, None without word_timestamps."""
    if not settings.word_timestamps:
        return [None] * len(batch)
    eot = model.tokenizer.eot
    texts = [[[t for t in segment.tokens if t < eot] for segment in cut.segments] for cut in cuts]
    languages, seconds = [result.language for result in results], [window.seconds for window in batch]
    return find_words(model, states, texts, languages, seconds, settings.decoding)


def encode_batch(model: Any, batch: Sequence[Window], padding: str) -> Any:
    """Encoder states of windows.

    With padding "30s" zeros follow their mel up to 30 s, as in openai-whisper. With "none" the model's pad_positions of
    silence follow.
    """
    with torch.no_grad():
        if padding == "none":
            waves = [w.segmenter.clip[w.start : w.stop].to(model.device) for w in batch]
            return model.encode_windows(waves, padding=padding)
        mels = [_mel(model, w.segmenter.clip, w.start, w.stop, w.peak) for w in batch]
        return model.encode_mel(pad_sequence(mels, batch_first=True))


def _mel(model: Any, clip: Clip, start: int, stop: int, peak: Tensor | None) -> Tensor:
    """Log-mel (M, N) of samples start ... stop (start in whole frames). Frames at the edges include samples beyond."""
    first = max(0, start - EDGE * FRAME)
    power = next(model.mel.blocks(clip[first : stop + EDGE * FRAME].to(model.device)))
    peak = power.amax() if peak is None else peak[0].to(power)
    skipped = (start - first) // FRAME
    return model.mel.compress(power[skipped : skipped + (stop - start) // FRAME], peak)
