"""A decoder that says the same again: over and over until its context is full, or twice in a row.

Legend: U tokens.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

SPAN = 48  # tokens that must repeat themselves: four times the longest period, so that counting and refrains pass
LONGEST = 12  # tokens of a repeated phrase
LOOK_EVERY = 16  # steps between two looks


def loops(tokens: Tensor, begin_stamps: int) -> Tensor:
    """(..., U) -> (...): whether the last SPAN tokens are one phrase over and over. Timestamps count as equal."""
    if tokens.shape[-1] < SPAN:
        return torch.zeros(tokens.shape[:-1], dtype=torch.bool)
    tail = tokens[..., -SPAN:].clamp(max=begin_stamps)
    found = [(tail[..., p:] == tail[..., :-p]).all(-1) for p in range(1, LONGEST + 1)]
    return torch.stack(found).any(0)


def cut_loop(tokens: list[int], begin_stamps: int) -> list[int]:
    """Tokens that end in a loop -> the same with the phrase once; others as they are."""
    words = [min(token, begin_stamps) for token in tokens]
    for period in range(1, LONGEST + 1):
        start = len(words) - period
        while start > 0 and words[start - 1] == words[start - 1 + period]:
            start -= 1
        if len(words) - start >= SPAN:
            return tokens[: start + period]
    return tokens


def doubled(text: str) -> bool:
    """Whether a text ends with what it said just before, in any case and punctuation: "Dial again. Dial again."."""
    words = re.findall(r"\w+", text.casefold())
    return any(words[-n:] == words[-2 * n : -n] for n in range(1, len(words) // 2 + 1))
