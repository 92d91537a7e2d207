"""Transcription of recordings of any length by a model with a CTC head.

recordings -> log-probabilities, window by window -> segments, cut at pauses -> greedy or beam -> words -> Transcript

A recording takes (T, V) in memory: some 20 MB an hour. Legend: B segments, T frames, V symbols.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zoo import audio
from zoo.errors import ConfigError
from zoo.models.ctc.alphabet import Alphabet
from zoo.models.ctc.beam import Fusion, beam_search
from zoo.models.ctc.ngram import NGram
from zoo.models.ctc.path import align, characters, collapse, greedy, words
from zoo.text.languages import language_code
from zoo.text.transcript import Segment, Transcript, Word
from zoo.validation import check_types

PAUSE = 0.5  # s without a character, but with a word boundary, after which a segment ends
SILENCE = 2.0  # s without a character after which it ends in any case; CTC may write the first letters of a word early
MAX_SEGMENT = 30.0  # s; longer segments are cut at their longest pause between words
LM_WEIGHT, WORD_SCORE = 0.5, 1.0
BATCH = 16  # segments

# Options of Whisper, and their allowed values: CTC encodes everything once, without a prompt.
FIXED: dict[str, tuple[Any, ...]] = {
    "task": ("transcribe",),
    "mode": ("batched",),
    "vad": ("auto", "none"),
    "prompt": (None,),
    "prefix": (None,),
    "condition_on_previous_text": (False,),
    "padding": (None,),
}


@dataclass(frozen=True)
class CtcOptions:
    """How log-probabilities become text.

    beam_size: 1 takes the likeliest symbol of each frame; a larger beam searches for the likeliest text.
    lm: an ARPA file of words or an `NGram`; it needs a beam. lm_weight: weight of its natural logarithms (the published
        weight 2 is for base 10; here that is 0.87). word_score: added for each word.
    batch_size: segments that are searched together; None = 16.
    Raises ConfigError for values that are out of range or do not go together.
    """

    beam_size: int = 1
    lm: str | Path | NGram | None = None
    lm_weight: float = LM_WEIGHT
    word_score: float = WORD_SCORE
    word_timestamps: bool = False
    batch_size: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        if self.beam_size < 1 or (self.batch_size is not None and self.batch_size < 1):
            raise ConfigError(f"beam_size {self.beam_size}, batch_size {self.batch_size}: both at least 1")
        if self.lm is None and (self.lm_weight, self.word_score) != (LM_WEIGHT, WORD_SCORE):
            raise ConfigError("lm_weight, word_score: they need a language model; give lm too")
        if self.lm is not None and self.beam_size == 1:
            raise ConfigError("lm: a language model needs a beam; give beam_size, 20 or more")

    @classmethod
    def of(cls, *, temperature: Any = 0.0, **options: Any) -> CtcOptions:
        """From the keyword arguments of `transcribe`. Raises ConfigError, naming the option."""
        first = temperature[0] if isinstance(temperature, (tuple, list)) and temperature else temperature
        if first not in (0, None):
            raise ConfigError(f"temperature {temperature!r}: CTC does not sample; leave it at 0")
        for name, allowed in FIXED.items():
            if name in options and (value := options.pop(name)) not in allowed:
                raise ConfigError(f"{name} {value!r}: a CTC model supports only {allowed[0]!r}")
        names = {f.name for f in fields(cls)}
        if unknown := sorted(options.keys() - names):
            raise ConfigError(f"unknown option {unknown[0]!r}; options are {', '.join(sorted(names))}")
        return cls(**options)


def transcribe(
    model: Any,
    waves: Any,
    sample_rate: int | None = None,
    *,
    language: str | None = None,
    progress: Callable[[float], None] | None = None,
    **options: Any,
) -> Transcript | list[Transcript]:
    """Transcribe any number of recordings of any length. A transcript does not depend on the other recordings.

    waves, sample_rate: as for `Encoder.encode`. language: code, if the model has several languages or none.
    progress: called with the seconds of audio that are done. options: fields of `CtcOptions`; the options of Whisper
    are accepted with their defaults.

    Returns a Transcript for a single input, else a list. The transcript of a clip without a whole frame is empty.
    Raises ConfigError for a model without a vocabulary and for options that it does not support, before any recording
    is read; AudioError, naming the item.
    """
    settings = CtcOptions.of(**options)
    language = _language(model, language)
    model.log_probabilities([])  # raises if the model has no head
    alphabet = Alphabet(model.config.vocabulary)
    fusion = _fusion(settings, alphabet)
    clips, single = audio.as_clips(waves, sample_rate, model.sample_rate)
    long_enough = [i for i, clip in enumerate(clips) if len(clip) >= model.min_samples]
    rows = model.log_probabilities([clips[i] for i in long_enough], progress or (lambda seconds: None))
    scores = dict(zip(long_enough, rows, strict=True))
    offset = (model.frame_samples - model.hop) / 2 / model.sample_rate
    spans = [(clip, span) for clip, x in scores.items() for span in segments(x, alphabet, model.frame_rate)]
    parts = [scores[clip][span] for clip, span in spans]
    transcripts = [Transcript(language, len(clip) / model.sample_rate) for clip in clips]
    for (clip, span), part, labels in zip(spans, parts, decode(parts, alphabet, settings, fusion), strict=True):
        path = align(part, labels)
        begin = offset + span.start / model.frame_rate
        spoken = words(characters(path, part), alphabet, model.frame_rate, begin)
        if spoken:
            spoken[-1].end = min(spoken[-1].end, transcripts[clip].duration)
            log_probability = float(part.gather(1, path[:, None]).mean())
            transcripts[clip].segments.append(_segment(spoken, labels, log_probability, settings.word_timestamps))
    return transcripts[0] if single else transcripts


def _fusion(settings: CtcOptions, alphabet: Alphabet) -> Fusion | None:
    """Raises ConfigError for a language model that cannot be read."""
    if settings.lm is None:
        return None
    lm = settings.lm if isinstance(settings.lm, NGram) else _read(Path(settings.lm).expanduser())
    return Fusion(lm, alphabet, settings.lm_weight, settings.word_score)


def _read(path: Path) -> NGram:
    return _read_cached(path, path.stat().st_mtime_ns if path.is_file() else None)


@lru_cache(maxsize=1)
def _read_cached(path: Path, time: int | None) -> NGram:
    """The file with this modification time, so that many calls read it once."""
    return NGram.read(path)


def decode(
    parts: Sequence[Tensor], alphabet: Alphabet, settings: CtcOptions, fusion: Fusion | None = None
) -> list[list[int]]:
    """The labels of each segment (T, V), without blanks; fusion: with a language model."""
    size = settings.batch_size or BATCH
    decoded: list[list[int]] = [[] for _ in parts]
    order = sorted(range(len(parts)), key=lambda i: -len(parts[i]))
    for first in range(0, len(order), size):
        chosen = order[first : first + size]
        batch = pad_sequence([parts[i] for i in chosen], batch_first=True)  # (B, T, V)
        lengths = torch.tensor([len(parts[i]) for i in chosen])
        if settings.beam_size == 1:
            labels = collapse(greedy(batch, lengths))
        else:
            labels = beam_search(batch, lengths, width=settings.beam_size, alphabet=alphabet, fusion=fusion)
        for i, row in zip(chosen, labels, strict=True):
            decoded[i] = row
    return decoded


def segments(log_probs: Tensor, alphabet: Alphabet, rate: float) -> list[slice]:
    """Frames (T, V) cut in the middle of pauses. The slices cover all frames."""
    path = log_probs.argmax(-1)  # (T,)
    quiet = path == Alphabet.blank
    between = path == (-1 if alphabet.boundary is None else alphabet.boundary)
    pauses = list(_pauses(quiet | between, between))
    cuts = [
        (start + stop) // 2
        for start, stop, word in pauses
        if stop - start >= (PAUSE if word else SILENCE) * rate and start > 0 and stop < len(path)
    ]
    edges = [0, *cuts, len(path)]
    spans = [slice(a, b) for a, b in itertools.pairwise(edges)]
    return [part for span in spans for part in _shorten(span, pauses, int(MAX_SEGMENT * rate))]


def _pauses(quiet: Tensor, between: Tensor) -> Iterator[tuple[int, int, bool]]:
    """Runs of frames without a character: start, stop, and whether a word ends there."""
    values, counts = quiet.unique_consecutive(return_counts=True)
    start = 0
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        if value:
            yield start, start + count, bool(between[start : start + count].any())
        start += count


def _shorten(span: slice, pauses: Sequence[tuple[int, int, bool]], longest: int) -> list[slice]:
    """The span, cut at its longest pauses between words until no part is longer than `longest`, if it has pauses."""
    inside = [(b - a, (a + b) // 2) for a, b, word in pauses if word and span.start < a and b < span.stop]
    if span.stop - span.start <= longest or not inside:
        return [span]
    _, cut = max(inside)
    parts = (slice(span.start, cut), slice(cut, span.stop))
    return [short for part in parts for short in _shorten(part, pauses, longest)]


def _segment(words: list[Word], labels: list[int], log_probability: float, word_timestamps: bool) -> Segment:
    text = "".join(word.text for word in words)
    shown = words if word_timestamps else None
    return Segment(words[0].start, words[-1].end, text, labels, log_probability=log_probability, words=shown)


def _language(model: Any, language: str | None) -> str:
    """The language code of the transcripts. Raises ConfigError for a language that the model was not trained on."""
    trained = tuple(model.provenance.get("languages", ()))
    if language is None:
        return trained[0] if len(trained) == 1 else ""
    if not isinstance(language, str):
        raise ConfigError(f"language {language!r}: give a code such as en, a name such as English, or None")
    language = language_code(language)
    if trained and language not in trained:
        raise ConfigError(f"language {language!r}: this model was trained on {', '.join(trained)}")
    return language
