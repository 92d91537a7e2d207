"""The keyword arguments of `HuBERT.transcribe`, for editors and type checkers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

from zoo.models.ctc.ngram import NGram


class TranscribeOptions(TypedDict, total=False):
    """The arguments of `zoo.models.ctc.transcription.transcribe`, with the fields of CtcOptions, which explain them."""

    language: str | None
    progress: Callable[[float], None]
    beam_size: int
    lm: str | Path | NGram | None
    lm_weight: float
    word_score: float
    word_timestamps: bool
    batch_size: int | None
