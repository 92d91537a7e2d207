"""Beam search over many windows at once; openai-whisper searches one at a time.

A window is finished when `candidates` = round(beam_size x patience) hypotheses have ended. Each step sorts the best
continuations of a window. Those that end leave the beam; the first K others stay in it.

Legend: W windows, K beams, C continuations, P candidates, R = W x K rows, V vocabulary, U tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.models.whisper.decoding.rows import Rows
from zoo.models.whisper.decoding.rules import NEVER, Rules
from zoo.models.whisper.decoding.sampling import Hypothesis, must_drop
from zoo.nn.transfer import to_cpu_together, to_device


@dataclass
class Pool:
    """Hypotheses that have ended. score (W, P), tokens (W, P, U), length (W, P), count (W,)."""

    score: Tensor
    tokens: Tensor
    length: Tensor
    count: Tensor

    @classmethod
    def empty(cls, windows: int, candidates: int, steps: int) -> Pool:
        score = torch.full((windows, candidates), NEVER)
        length = torch.zeros(windows, candidates, dtype=torch.long)
        return cls(score, length.new_zeros(windows, candidates, steps), length, length.new_zeros(windows))

    def add(self, live: Tensor, ending: Tensor, score: Tensor, tokens: Tensor) -> None:
        """Add hypotheses, the best first, until the pool is full.

        live (W',): indices of the windows; ending (W', C) bool, best first; score (W', C); tokens (W', C, U').
        """
        slot = self.count[live][:, None] + ending.cumsum(1) - 1  # (W', C)
        window, column = (ending & (slot < self.score.shape[1])).nonzero(as_tuple=True)
        target = live[window], slot[window, column]
        self.score[target] = score[window, column]
        self.tokens[target[0], target[1], : tokens.shape[2]] = tokens[window, column]
        self.length[target] = tokens.shape[2]
        self.count[live] = torch.minimum(self.count[live] + ending.sum(1), torch.tensor(self.score.shape[1]))

    @property
    def full(self) -> Tensor:
        """(W,) bool."""
        return self.count >= self.score.shape[1]


def beam_search(
    rows: Rows,
    logits: Tensor,
    rules: Rules,
    limits: Tensor,
    *,
    beam_size: int,
    patience: float = 1.0,
    prefixes: Sequence[Sequence[int]] | None = None,
) -> list[list[Hypothesis]]:
    """Continue every window until enough hypotheses have ended, or to its limit.

    logits (W, V): of the first token; limits (W,): maximum number of tokens of each window.
    prefixes: ids with which the transcript of each window begins; they are part of its prompt.
    Returns the ended hypotheses of each window. If they are fewer than beams, unfinished ones follow.
    """
    windows, steps = len(logits), int(limits.max())
    pool = Pool.empty(windows, max(1, round(beam_size * patience)), steps)
    unfinished: list[list[Hypothesis]] = [[] for _ in range(windows)]
    live, done = torch.arange(windows), torch.zeros(windows, dtype=torch.bool)
    beams, score = 1, torch.zeros(windows, 1)  # until the first step a window has one row
    out = torch.zeros(windows, 1, steps, dtype=torch.long)  # (live W, K, U)
    state = rules.begin(windows, prefixes)
    for step in range(steps):
        norm = rules.apply_(logits, state)  # (R,)
        best, tokens = logits.topk(beam_size + 1, 1)  # (R, K + 1)
        tokens, gain = to_cpu_together(tokens, best - norm[:, None])  # the only wait of a step
        gained = gain.view(len(live), beams, -1) + score[..., None]
        total, order = gained.flatten(1).sort(dim=1, descending=True, stable=True)  # (live W, C)
        chosen = tokens.view(len(live), -1).gather(1, order)
        parent = order // (beam_size + 1)
        ends = chosen == rules.eot
        ahead = (~ends).cumsum(1)  # continuations that go on, up to and including this one
        ending = ends & (ahead < beam_size) & (total > NEVER) & ~done[live, None]
        pool.add(live, ending, total, out.gather(1, _like(parent, out))[..., :step])
        going = (~ends).long().sort(dim=1, descending=True, stable=True).indices[:, :beam_size]  # (live W, K)
        score, chosen, parent = total.gather(1, going), chosen.gather(1, going), parent.gather(1, going)
        out = out.gather(1, _like(parent, out))
        out[..., step] = chosen
        over = (step + 1 >= limits[live]) & ~pool.full[live] & ~done[live]
        for w in over.nonzero()[:, 0].tolist():  # once a window
            unfinished[int(live[w])] = _hypotheses(out[w, :, : step + 1], score[w])
        done[live] |= over | pool.full[live]
        on = ~done[live]
        if not on.any():
            break
        drop = must_drop(~on, step + 1 >= limits[live])
        remaining = on.nonzero()[:, 0] if drop else torch.arange(len(live))
        source = (remaining[:, None] * beams + parent[remaining]).flatten()  # (R',)
        following = to_device(chosen[remaining].flatten(), logits.device)
        rows.select(source, remaining if len(remaining) < len(live) else None)
        state.select(source)
        live, score, out, beams = live[remaining], score[remaining], out[remaining], beam_size
        rules.advance(state, following)
        logits = rows.step(following)
    return [_finish(pool, w, unfinished[w], beam_size) for w in range(windows)]


def _like(parent: Tensor, out: Tensor) -> Tensor:
    """Indices (W, N) expanded for gather along dimension 1 of out (W, K, U)."""
    return parent[..., None].expand(-1, -1, out.shape[2])


def _hypotheses(tokens: Tensor, score: Tensor) -> list[Hypothesis]:
    """Beams (K, U) at the limit as hypotheses; they are sorted, the best first."""
    return [Hypothesis(t, s) for t, s in zip(tokens.tolist(), score.tolist(), strict=True)]


def _finish(pool: Pool, w: int, unfinished: list[Hypothesis], beam_size: int) -> list[Hypothesis]:
    """Ended hypotheses of window w; unfinished ones are added if these are fewer than beams."""
    ended = [
        Hypothesis(pool.tokens[w, p, : int(pool.length[w, p])].tolist(), float(pool.score[w, p]))
        for p in range(int(pool.count[w]))
    ]
    return ended + unfinished[: max(0, beam_size - len(ended))]
