"""Decoding options of a batch, requests and results of its windows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from zoo.errors import ConfigError
from zoo.validation import check_types

TASKS = ("transcribe", "translate")
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
BEST_OF = 5
"""Default number of samples at a temperature above 0; the likeliest one is used."""
MAX_INITIAL = 1.0  # s


@dataclass(frozen=True)
class DecodingOptions:
    """Radford et al. 2022, section 4.5, with the names and defaults of openai-whisper.

    temperatures: tried in turn until an attempt succeeds. 0 is greedy search or a beam. Above 0, `best_of` samples are
        drawn; the random numbers depend on `seed` and the window's start in its recording only.
    An attempt fails if its text compresses more than compression_ratio_threshold times, if its mean log-probability is
        below logprob_threshold, or if it runs into a loop (repetition_stop). If all fail, the likeliest one is
        used. A window counts as silence if the probability of <|nospeech|> exceeds no_speech_threshold and the mean
        log-probability is below its threshold.
    patience: hypotheses to finish, in multiples of beam_size (Kasai et al. 2022); length_penalty: exponent of Wu et al.
        2016, None divides the log-probability by the length.
    max_initial_timestamp: seconds into the window at which speech must begin at the latest; None = any time.
    suppress_non_speech: no brackets, notes and speaker dashes; suppress_tokens: further ids that are never chosen.
    max_tokens: per window; None = half the context.
    repetition_stop: stop an attempt that repeats the same few words again and again, and cut the repetitions off.
    Raises ConfigError for values of a wrong type, out of range, or that do not go together.
    """

    task: str = "transcribe"
    temperatures: tuple[float, ...] = TEMPERATURES
    beam_size: int = 1
    best_of: int | None = None
    patience: float | None = None
    length_penalty: float | None = None
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    timestamps: bool = True
    max_initial_timestamp: float | None = MAX_INITIAL
    suppress_blank: bool = True
    suppress_non_speech: bool = True
    suppress_tokens: tuple[int, ...] = ()
    max_tokens: int | None = None
    repetition_stop: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        _require(self.task in TASKS, f"task {self.task!r} is unknown; choose one of {', '.join(TASKS)}")
        _require(
            bool(self.temperatures) and all(0 <= t < math.inf for t in self.temperatures),
            f"temperatures {self.temperatures}: one or more numbers from 0 up",
        )
        _require(self.beam_size >= 1, f"beam_size {self.beam_size}: at least 1")
        _require(
            self.beam_size == 1 or 0.0 in self.temperatures,
            "beam_size: beams need the temperature 0 among temperatures",
        )
        _require(self.best_of is None or self.best_of >= 1, f"best_of {self.best_of}: at least 1")
        _require(
            self.best_of in (None, 1) or any(self.temperatures),
            "best_of: samples differ at a temperature above 0 only; add one, or leave best_of out",
        )
        _require(
            self.patience is None or (self.beam_size > 1 and self.patience > 0),
            "patience: a positive number that goes with beam_size > 1",
        )
        _require(
            self.length_penalty is None or (self.ranks and 0 <= self.length_penalty <= 1),
            "length_penalty: from 0 to 1, and with beams or several samples only, as it ranks candidates",
        )
        _require(self.max_tokens is None or self.max_tokens >= 1, f"max_tokens {self.max_tokens}: at least 1")
        _require(
            self.max_initial_timestamp is None or 0 <= self.max_initial_timestamp <= 30,
            f"max_initial_timestamp {self.max_initial_timestamp}: from 0 to 30 s, or None",
        )
        _require(
            self.timestamps or self.max_initial_timestamp in (None, MAX_INITIAL),
            "max_initial_timestamp goes with timestamps=True",
        )

    @property
    def samples(self) -> int:
        """Number of samples at a temperature above 0."""
        return BEST_OF if self.best_of is None else self.best_of

    @property
    def ranks(self) -> bool:
        """Whether an attempt can have several candidates."""
        return self.beam_size > 1 or (any(self.temperatures) and self.samples > 1)


@dataclass(frozen=True)
class DecodingRequest:
    """Decoding input of one window.

    language: code, None to identify it; prompt: ids of preceding text, only its end is used if it is long.
    prefix: ids with which the transcript begins, a timestamp first if it has timestamps.
    start: first sample of the window, which random numbers depend on.
    """

    language: str | None = None
    prompt: tuple[int, ...] = ()
    prefix: tuple[int, ...] = ()
    start: int = 0


@dataclass
class Decoded:
    """Decoded text of one window. Fields as in `Segment`; tokens without prompt, prefix and end."""

    tokens: list[int]
    text: str
    language: str
    language_probability: float
    temperature: float
    log_probability: float
    no_speech: float
    compression_ratio: float
    looped: bool = False

    def silent(self, options: DecodingOptions) -> bool:
        """Whether the window is silence: <|nospeech|> is likely and the text is unlikely."""
        if options.no_speech_threshold is None or self.no_speech <= options.no_speech_threshold:
            return False
        return options.logprob_threshold is None or self.log_probability <= options.logprob_threshold

    def failed(self, options: DecodingOptions) -> bool:
        """Whether the next temperature should be tried."""
        unlikely = options.logprob_threshold is not None and self.log_probability < options.logprob_threshold
        silence = options.no_speech_threshold is not None and self.no_speech > options.no_speech_threshold
        return not (silence and unlikely) and (self.repeats(options) or unlikely)

    def repeats(self, options: DecodingOptions) -> bool:
        """Whether the text ran into a loop or compresses too well."""
        threshold = options.compression_ratio_threshold
        return self.looped or (threshold is not None and self.compression_ratio > threshold)


def _require(condition: Any, message: str) -> None:
    if not condition:
        raise ConfigError(message)
