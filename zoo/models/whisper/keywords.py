"""The keyword arguments of `Whisper.transcribe`, for editors and type checkers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

from zoo.audio.vad import VoiceActivity


class TranscribeOptions(TypedDict, total=False):
    """The arguments of `zoo.models.whisper.longform.transcribe`, with the fields of LongformOptions and
    DecodingOptions, which explain them.
    """

    language: str | Sequence[str | None] | None
    prompt: str | Sequence[int] | None
    prefix: str | Sequence[int] | None
    progress: Callable[[float], None]
    mode: str
    vad: str | VoiceActivity
    condition_on_previous_text: bool
    word_timestamps: bool
    batch_size: int | None
    padding: str | None
    task: str
    temperature: float | Sequence[float] | None
    beam_size: int
    best_of: int | None
    patience: float | None
    length_penalty: float | None
    compression_ratio_threshold: float | None
    logprob_threshold: float | None
    no_speech_threshold: float | None
    timestamps: bool
    max_initial_timestamp: float | None
    suppress_blank: bool
    suppress_non_speech: bool
    suppress_tokens: Sequence[int]
    max_tokens: int | None
    repetition_stop: bool
    seed: int
