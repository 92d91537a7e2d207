"""Repetition in decoded text: the same phrase until the context is full, or twice in a row.

Legend: U tokens.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

SPAN = 48  # tokens that a loop must last: four times the longest phrase, so that counting and refrains are no loops
MAX_PHRASE = 12  # tokens of a repeated phrase
CHECK_EVERY = 16  # steps between two checks


def loops(tokens: Tensor, begin_stamps: int) -> Tensor:
    """(..., U) -> (...): whether the last SPAN tokens repeat one phrase. Timestamps count as equal."""
    if tokens.shape[-1] < SPAN:
        return torch.zeros(tokens.shape[:-1], dtype=torch.bool)
    tail = tokens[..., -SPAN:].clamp(max=begin_stamps)
    repeats = [(tail[..., p:] == tail[..., :-p]).all(-1) for p in range(1, MAX_PHRASE + 1)]
    return torch.stack(repeats).any(0)


def cut_loop(tokens: list[int], begin_stamps: int) -> list[int]:
    """Tokens that end in a loop -> the same with the phrase once; other tokens as they are."""
    words = [min(token, begin_stamps) for token in tokens]
    for period in range(1, MAX_PHRASE + 1):
        start = len(words) - period
        while start > 0 and words[start - 1] == words[start - 1 + period]:
            start -= 1
        if len(words) - start >= SPAN:
            return tokens[: start + period]
    return tokens


def doubled(text: str) -> bool:
    """Whether a text ends with the same words twice, in any case and punctuation: "Dial again. Dial again."."""
    words = re.findall(r"\w+", text.casefold())
    return any(words[-n:] == words[-2 * n : -n] for n in range(1, len(words) // 2 + 1))
