"""Greedy search, and sampling of several candidates for each window.

Legend: W windows, G candidates a window, R = W x G rows, V vocabulary, U tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.models.whisper.decoding.repetition import CHECK_EVERY, SPAN, loops
from zoo.models.whisper.decoding.rows import Rows
from zoo.models.whisper.decoding.rules import Rules
from zoo.nn.transfer import to_cpu_together, to_device

DROP = 0.25  # share of ended windows at which their rows are dropped; dropping moves the keys and values of the others


@dataclass
class Hypothesis:
    """tokens: without the end token; score: sum of log-probabilities, the end token's included."""

    tokens: list[int]
    score: float
    looped: bool = False


def sample(
    rows: Rows,
    logits: Tensor,
    rules: Rules,
    limits: Tensor,
    *,
    temperature: float = 0.0,
    uniform: Tensor | None = None,
    repetition_stop: bool = False,
    prefixes: Sequence[Sequence[int]] | None = None,
) -> list[list[Hypothesis]]:
    """Continue every window to its end token or its limit.

    logits (W, V): of the first token; limits (W,): maximum number of tokens of each window.
    uniform (W, G, U): numbers in [0, 1), one for each token, that draw it at a temperature above 0; None = greedy.
    prefixes: ids with which the transcript of each window begins; they are part of its prompt.
    Returns G hypotheses for each window.
    """
    windows, group = len(logits), 1 if uniform is None else uniform.shape[1]
    out = torch.full((windows, group, int(limits.max())), rules.eot)
    score = torch.zeros(windows, group)
    ended, looped = (torch.zeros(windows, group, dtype=torch.bool) for _ in range(2))
    state, live = rules.begin(windows, prefixes), torch.arange(windows)
    if group > 1:
        copies = live.repeat_interleave(group)
        rows.select(copies)
        state.select(copies)
        logits = logits.repeat_interleave(group, 0)
    for step in range(out.shape[2]):
        norm = rules.apply_(logits, state)  # (R,)
        tokens = logits.argmax(1) if uniform is None else _draw(logits, temperature, uniform[live, :, step].flatten())
        gain = logits.gather(1, tokens[:, None])[:, 0] - norm  # (R,)
        chosen, gain = to_cpu_together(tokens.view(-1, group), gain.view(-1, group))  # the only wait of a step
        active = ~ended[live]  # (live W, G)
        score[live] += torch.where(active, gain, 0.0)
        out[live, :, step] = torch.where(active, chosen, rules.eot)
        ended[live] |= (chosen == rules.eot) | (step + 1 >= limits[live])[:, None]
        if repetition_stop and step + 1 >= SPAN and (step + 1) % CHECK_EVERY == 0:
            looped[live] |= loops(out[live, :, : step + 1], rules.begin_stamps) & ~ended[live]
            ended |= looped
        going = ~ended[live].all(1)
        if not going.any():
            break
        rules.advance(state, tokens)
        if must_drop(~going, step + 1 >= limits[live]):
            remaining = going.nonzero()[:, 0]
            chosen_rows = (remaining[:, None] * group + torch.arange(group)).flatten()
            rows.select(chosen_rows, remaining)
            state.select(chosen_rows)
            live, tokens = live[remaining], tokens[to_device(chosen_rows, tokens.device)]
        logits = rows.step(tokens)
    return [
        [_hypothesis(out[w, g], float(score[w, g]), bool(looped[w, g]), rules.eot) for g in range(group)]
        for w in range(windows)
    ]


def must_drop(ended: Tensor, full: Tensor) -> bool:
    """Whether to drop ended windows now: many have ended, or the context of one is full. ended, full (W,)."""
    return bool(full.any()) or int(ended.sum()) >= max(1, DROP * len(ended))


def uniform_numbers(starts: list[int], group: int, steps: int, seed: int) -> Tensor:
    """(W, G, U) numbers in [0, 1) that depend on seed, start and candidate only, not on the batch.

    starts: first sample of each window.
    """
    numbers = torch.empty(len(starts), group, steps)
    for w, start in enumerate(starts):
        numbers[w] = torch.rand(group, steps, generator=torch.Generator().manual_seed(hash((seed, start)) % 2**63))
    return numbers


def _draw(logits: Tensor, temperature: float, uniform: Tensor) -> Tensor:
    """Tokens (R,) with probability softmax(logits / temperature), by inversion of the distribution function."""
    cumulated = (logits / temperature).softmax(1).double().cumsum(1)  # (R, V)
    threshold = to_device(uniform.to(cumulated.dtype), cumulated.device)[:, None] * cumulated[:, -1:]
    return torch.searchsorted(cumulated, threshold, right=True)[:, 0].clamp(max=logits.shape[1] - 1)


def _hypothesis(tokens: Tensor, score: float, looped: bool, eot: int) -> Hypothesis:
    ends = (tokens == eot).nonzero()
    return Hypothesis(tokens[: int(ends[0]) if len(ends) else len(tokens)].tolist(), score, looped)
