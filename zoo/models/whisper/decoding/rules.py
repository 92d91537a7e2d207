"""Which tokens may come next: suppressed tokens, and the grammar of timestamps.

    <|0.00|> text text <|2.40|> <|2.40|> text ... <|5.00|> <|endoftext|>

Timestamps come in pairs around text and never decrease. The state is a few numbers for each row, so that a step needs
no loop over rows. As in openai-whisper's decoding.py.

Legend: R rows, V vocabulary, Z timestamps (1501).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.whisper.tokenizer import TIMESTAMPS
from zoo.nn.transfer import to_device

NEVER = float("-inf")


class Ids(Protocol):
    """The special tokens of a WhisperTokenizer."""

    eot: int
    sot: int
    sot_prev: int
    sot_lm: int
    no_speech: int
    no_timestamps: int
    timestamp_begin: int
    transcribe: int
    translate: int

    def encode(self, text: str) -> list[int]: ...

    def non_speech_tokens(self) -> Sequence[int]: ...


@dataclass
class State:
    """Grammar state of each row.

    step: tokens sampled so far; fresh (R,): whether a row began without a prefix, on the CPU;
    was_stamp, before_was_stamp (R,): whether the last token and the one before it are timestamps, True if there is no
    such token; latest (R,): index of the latest timestamp, -1 for none.
    """

    step: int
    fresh: Tensor
    was_stamp: Tensor
    before_was_stamp: Tensor
    latest: Tensor

    @classmethod
    def begin(cls, prefixes: Sequence[Sequence[int]], begin_stamps: int, device: torch.device | None = None) -> State:
        """The state after the prefix of each row, which may be empty."""
        fresh, was_stamp, before_was_stamp, latest = [], [], [], []
        for prefix in prefixes:
            stamps = [token for token in prefix if token >= begin_stamps]
            fresh.append(not prefix)
            was_stamp.append(not prefix or prefix[-1] >= begin_stamps)
            before_was_stamp.append(len(prefix) < 2 or prefix[-2] >= begin_stamps)
            latest.append(stamps[-1] - begin_stamps if stamps else -1)
        flags = torch.tensor([was_stamp, before_was_stamp], dtype=torch.bool, device=device)
        return cls(0, torch.tensor(fresh), flags[0], flags[1], torch.tensor(latest, dtype=torch.long, device=device))

    def select(self, rows: Tensor) -> None:
        """Keep these rows (R',), numbers on the CPU, in this order, repeats allowed."""
        self.fresh = self.fresh[rows]
        rows = to_device(rows, self.latest.device)
        self.was_stamp, self.before_was_stamp = self.was_stamp[rows], self.before_was_stamp[rows]
        self.latest = self.latest[rows]


class Rules:
    """Restricts logits in place; one object is used for all rows and steps of a batch."""

    def __init__(
        self,
        ids: Ids,
        vocabulary: int,
        *,
        timestamps: bool = True,
        max_initial: int | None = 50,
        suppress_blank: bool = True,
        suppress_non_speech: bool = True,
        suppress: Sequence[int] = (),
        device: torch.device | None = None,
    ) -> None:
        """max_initial: index of the latest timestamp with which a window may begin; None = any."""
        self.eot, self.begin_stamps, self.vocabulary = ids.eot, ids.timestamp_begin, vocabulary
        self.timestamps, self.max_initial = timestamps, max_initial
        never = {*suppress, ids.transcribe, ids.translate, ids.sot, ids.sot_prev, ids.sot_lm, ids.no_speech}
        if suppress_non_speech:
            never |= set(ids.non_speech_tokens())
        never.add(ids.no_timestamps)  # only the prompt has it
        # Without timestamps a sampled one would cut the text. Ids after the last timestamp have no meaning.
        never |= set(range(ids.timestamp_begin + (TIMESTAMPS if timestamps else 0), vocabulary))
        self.never = torch.tensor(sorted(t for t in never if 0 <= t < vocabulary), device=device)
        blank = {*ids.encode(" "), ids.eot} if suppress_blank else set()
        self.blank = torch.tensor(sorted(blank), dtype=torch.long, device=device)
        self.stamp_indices = torch.arange(vocabulary - self.begin_stamps, device=device)  # (Z,)

    def begin(self, rows: int, prefixes: Sequence[Sequence[int]] | None = None) -> State:
        """The state of each row before its first token. prefixes: ids that a row has already, timestamps included."""
        return State.begin(prefixes or [()] * rows, self.begin_stamps, self.never.device)

    def advance(self, state: State, tokens: Tensor) -> None:
        """Update the state with the tokens (R,) that were chosen."""
        stamp = tokens >= self.begin_stamps
        state.before_was_stamp = state.was_stamp
        state.was_stamp = stamp
        state.latest = torch.where(stamp, tokens - self.begin_stamps, state.latest)
        state.step += 1

    def apply_(self, logits: Tensor, state: State) -> Tensor:
        """Forbid tokens in logits (R, V), in place.

        Returns (R,): subtract it from the logits for log-probabilities over the allowed tokens. A row without allowed
        tokens may only end.
        """
        logits.index_fill_(1, self.never, NEVER)
        if not state.step:
            logits.index_fill_(1, self.blank, NEVER)
        norm = self._apply_grammar_(logits, state) if self.timestamps else logits.logsumexp(1)
        stuck = norm == NEVER
        logits[:, self.eot].masked_fill_(stuck, 0.0)
        return norm.masked_fill(stuck, 0.0)

    def _apply_grammar_(self, logits: Tensor, state: State) -> Tensor:
        if state.step or not state.fresh.any():
            return self._continue_(logits, state)
        if state.fresh.all():
            return self._begin_(logits)
        norm = torch.empty_like(logits[:, 0])
        for is_fresh in (True, False):  # rows with and without a prefix
            numbers = (state.fresh == is_fresh).nonzero()[:, 0]
            rows = to_device(numbers, logits.device)
            part, part_state = logits[rows], replace(state)
            part_state.select(numbers)
            norm[rows] = self._apply_grammar_(part, part_state)
            logits[rows] = part
        return norm

    def _begin_(self, logits: Tensor) -> Tensor:
        """Only a timestamp begins a transcript."""
        stamps = logits[:, self.begin_stamps :]  # (R, Z)
        logits[:, : self.begin_stamps] = NEVER
        if self.max_initial is not None:
            stamps[:, self.max_initial + 1 :] = NEVER
        return stamps.logsumexp(1)

    def _continue_(self, logits: Tensor, state: State) -> Tensor:
        text, stamps = logits[:, : self.begin_stamps], logits[:, self.begin_stamps :]  # (R, V - Z), (R, Z)
        closes = (
            state.was_stamp & ~state.before_was_stamp
        )  # the end of a segment: the same timestamp again, or the end token, may follow
        floor = state.latest + 1 - closes.long()
        floor = floor.masked_fill(state.was_stamp & state.before_was_stamp, len(self.stamp_indices))
        stamps.masked_fill_(self.stamp_indices < floor[:, None], NEVER)
        forbid_(logits[:, : self.eot], closes)
        stamp_mass, likeliest = stamps.logsumexp(1), text.amax(1)  # (R,)
        norm = torch.logaddexp(text.logsumexp(1), stamp_mass)
        forced = stamp_mass > likeliest
        forbid_(text, forced)
        return torch.where(forced, stamp_mass, norm)


def forbid_(logits: Tensor, rows: Tensor) -> None:
    """Forbid all tokens of logits (R, V) in the rows (R,) that are True, in place. A GPU is not asked which."""
    if rows.device.type == "cpu" and not rows.any():
        return
    logits += torch.where(rows, NEVER, 0.0)[:, None]
