"""Prefix beam search (Hannun et al. 2014, arXiv 1408.2873), all clips and prefixes of a batch at once.

A prefix is known by a 64-bit hash, so that tensor operations find and add up the ways that lead to the same one:

    score(prefix) = log p(prefix | frames so far) + lm_weight log p_lm(words) + word_score |words|

Legend: B clips, T frames, V symbols, W beam, K symbols that are tried in a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from torch import Tensor

from zoo.models.ctc.alphabet import Alphabet
from zoo.models.ctc.ngram import END, Context, NGram

TRIED = 64  # symbols of a frame, the likeliest; more than an alphabet has, fewer than Chinese characters
NONE = float("-inf")

Number = TypeVar("Number", int, Tensor)


@dataclass
class Prefixes:
    """What the beam holds, (B, W) each.

    key: hash of the prefix; parent: of the prefix without its last symbol; last: that symbol, 0 for the empty prefix.
    blank, symbol: log-probability of the paths that end in a blank, or in the last symbol.
    bonus: of the language model so far; word: hash of the unfinished word, 0 where there is none; state: see `Fusion`.
    """

    key: Tensor
    parent: Tensor
    last: Tensor
    blank: Tensor
    symbol: Tensor
    bonus: Tensor
    word: Tensor
    state: Tensor

    @classmethod
    def start(cls, batch: int, width: int) -> Prefixes:
        """The empty prefix, and places that are free."""
        zeros = torch.zeros(batch, width, dtype=torch.int64)
        free = torch.full((batch, width), NONE)
        blank = free.clone()
        blank[:, 0] = 0.0
        key = (1 + torch.arange(width)).expand(batch, width)
        return cls(key, zeros, zeros, blank, free, torch.zeros(batch, width), zeros, zeros)

    @property
    def total(self) -> Tensor:
        return torch.logaddexp(self.blank, self.symbol)

    def take(self, rows: Tensor) -> Prefixes:
        """The prefixes at `rows` (B, W)."""
        return Prefixes(*(getattr(self, field.name).gather(1, rows) for field in fields(self)))


class Fusion:
    """A language model of words beside a CTC model of characters.

    Contexts of the model are numbered as they come up. A word is scored when its boundary is read; one that can be no
    known word any more ranks as unknown before.
    """

    def __init__(self, model: NGram, alphabet: Alphabet, weight: float, word_score: float) -> None:
        self.model, self.alphabet, self.weight, self.word_score = model, alphabet, weight, word_score
        self.contexts: list[Context] = [model.start]
        self.numbers = {model.start: 0}
        self.spelled = {hashes[-1]: word for word in model.words if (hashes := _spell(alphabet, word))}
        self.begun = {key for word in model.words for key in _spell(alphabet, word)}
        self.known: dict[tuple[int, int], tuple[float, float, int]] = {}

    def __call__(self, state: Tensor, word: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """state, word (N,) of unfinished words -> bonus (N,) if they end here, what they rank by until they end, and
        the states after them.
        """
        pairs = list(zip(state.tolist(), word.tolist(), strict=True))
        found = [self.known.get(pair) or self._score(pair) for pair in pairs]
        bonus, outlook, after = zip(*found, strict=True)
        return torch.tensor(bonus), torch.tensor(outlook), torch.tensor(after)

    def end(self, state: Tensor) -> Tensor:
        """state (N,) -> bonus (N,) for the end of the sentence."""
        return torch.tensor([self.weight * self.model.score(self.contexts[s], END)[0] for s in state.tolist()])

    def _score(self, pair: tuple[int, int]) -> tuple[float, float, int]:
        state, word = pair
        chance, after = self.model.score(self.contexts[state], self.spelled.get(word, ""))
        if after not in self.numbers:
            self.numbers[after] = len(self.contexts)
            self.contexts.append(after)
        bonus = self.weight * chance + self.word_score
        self.known[pair] = (bonus, 0.0 if word in self.begun else bonus, self.numbers[after])
        return self.known[pair]


def beam_search(
    log_probs: Tensor, lengths: Tensor, *, width: int, alphabet: Alphabet, fusion: Fusion | None = None
) -> list[list[int]]:
    """The best labels of each clip. log_probs (B, T, V) normalized, float32 on the CPU; lengths (B,)."""
    batch, size, count = log_probs.shape
    certain = log_probs.new_full((count,), NONE)
    certain[Alphabet.blank] = 0.0
    real = torch.arange(size) < lengths[:, None]  # (B, T)
    log_probs = torch.where(real[..., None], log_probs, certain)  # a certain blank changes nothing
    beam = Prefixes.start(batch, width)
    steps: list[tuple[Tensor, Tensor]] = []
    for p in log_probs.unbind(1):  # (B, V)
        beam, origin, symbol = _advance(beam, p, alphabet, fusion)
        steps.append((origin, symbol))
    score = beam.total + beam.bonus
    if fusion is not None:
        score = score + _finish(beam, fusion)
    return _trace(steps, score.argmax(1))


def _advance(beam: Prefixes, p: Tensor, alphabet: Alphabet, fusion: Fusion | None) -> tuple[Prefixes, Tensor, Tensor]:
    """The beam after a frame p (B, V); for each new prefix the place of the old one (B, W) and its new symbol or 0."""
    width = beam.key.shape[1]
    symbols = p.topk(min(TRIED, p.shape[1]), dim=1).indices  # (B, K)
    tried = symbols.shape[1]
    total = beam.total
    repeats = symbols[:, None, :] == beam.last[..., None]  # (B, W, K): only a blank between makes it a new one
    grown = torch.where(repeats, beam.blank[..., None], total[..., None]) + p.gather(1, symbols)[:, None]  # (B, W, K)
    grown = grown.masked_fill((symbols == Alphabet.blank)[:, None], NONE)
    joining, grown = _merge(beam, p, symbols, total, grown)
    blank = total + p[:, :1]  # (B, W)
    symbol = torch.logaddexp(beam.symbol + p.gather(1, beam.last), joining)
    symbol = symbol.masked_fill(beam.last == 0, NONE)

    bonus, outlook, states = _word_bonus(beam, fusion)
    ends = symbols == (-1 if alphabet.boundary is None else alphabet.boundary)  # (B, K)
    ahead = torch.where(ends[:, None], bonus[..., None], outlook[..., None])  # (B, W, K)
    ranked = grown + beam.bonus[..., None] + ahead
    stay = torch.logaddexp(blank, symbol) + beam.bonus + outlook
    chosen = torch.cat([stay, ranked.flatten(1)], dim=1).topk(width, dim=1).indices  # (B, W) of W + W K
    stays = chosen < width
    place = (chosen - width).clamp(min=0)
    origin = torch.where(stays, chosen, place // tried)
    added = torch.where(stays, 0, symbols.gather(1, place % tried))  # (B, W)

    old = beam.take(origin)
    boundary = ~stays & ends.gather(1, place % tried)
    return (
        Prefixes(
            key=torch.where(stays, old.key, _hash(old.key, added)),
            parent=torch.where(stays, old.parent, old.key),
            last=torch.where(stays, old.last, added),
            blank=torch.where(stays, blank.gather(1, origin), NONE),
            symbol=torch.where(stays, symbol.gather(1, origin), grown.flatten(1).gather(1, place)),
            bonus=old.bonus + torch.where(boundary, bonus.gather(1, origin), 0.0),
            word=torch.where(stays, old.word, torch.where(boundary, 0, _hash(old.word, added))),
            state=torch.where(boundary, states.gather(1, origin), old.state),
        ),
        origin,
        added,
    )


def _merge(beam: Prefixes, p: Tensor, symbols: Tensor, total: Tensor, grown: Tensor) -> tuple[Tensor, Tensor]:
    """Prefixes that grow into one that is in the beam already join it: what it gains (B, W), and what is left to grow.

    Prefix j is prefix i and one symbol more where parent_j = key_i.
    """
    batch, width, tried = grown.shape
    matches = (beam.parent[:, :, None] == beam.key[:, None, :]) & (beam.last > 0)[..., None]  # (B, W, W)
    known, source = matches.any(2), matches.to(torch.uint8).argmax(2)  # (B, W)
    repeats = beam.last.gather(1, source) == beam.last
    before = torch.where(repeats, beam.blank.gather(1, source), total.gather(1, source))
    joining = torch.where(known, before + p.gather(1, beam.last), NONE)
    columns = torch.full_like(p, tried, dtype=torch.int64)
    columns.scatter_(1, symbols, torch.arange(tried).expand(batch, tried))  # (B, V): symbol -> column of grown
    column = columns.gather(1, beam.last)
    taken = torch.where(known & (column < tried), source * tried + column, width * tried)
    left = torch.cat([grown.flatten(1), grown.new_zeros(batch, 1)], dim=1).scatter(1, taken, NONE)
    return joining, left[:, :-1].view_as(grown)


def _word_bonus(beam: Prefixes, fusion: Fusion | None) -> tuple[Tensor, Tensor, Tensor]:
    """What each prefix (B, W) gains should its word end here, its outlook should it not, and the state after it."""
    bonus, outlook, states = torch.zeros_like(beam.bonus), torch.zeros_like(beam.bonus), beam.state.clone()
    begun = beam.word != 0
    if fusion is not None and begun.any():
        bonus[begun], outlook[begun], states[begun] = fusion(beam.state[begun], beam.word[begun])
    return bonus, outlook, states


def _finish(beam: Prefixes, fusion: Fusion) -> Tensor:
    """What each prefix gains at the end of the clip (B, W)."""
    bonus, _, states = _word_bonus(beam, fusion)
    return bonus + fusion.end(states.flatten()).view_as(bonus)


def _trace(steps: Sequence[tuple[Tensor, Tensor]], best: Tensor) -> list[list[int]]:
    """Back from the best places (B,) of the last frame to all symbols that were added."""
    place, added = best[:, None], []
    for origin, symbol in reversed(steps):
        added.append(symbol.gather(1, place))
        place = origin.gather(1, place)
    if not added:
        return [[] for _ in best]
    rows = torch.cat(added[::-1], dim=1)  # (B, T)
    return [row[row > 0].tolist() for row in rows]


def _hash(key: Number, symbol: Number) -> Number:
    """Of a sequence and one symbol more; products wrap around."""
    mixed = key ^ (key >> 29)
    return mixed * 6364136223846793005 + (symbol + 1) * 1442695040888963407


def _spell(alphabet: Alphabet, word: str) -> list[int]:
    """The hashes that a word has in the beam, letter by letter; none where the alphabet cannot write it."""
    for form in (word, word.lower(), word.upper()):
        if all(letter in alphabet.numbers for letter in form):
            hashes = [0]
            for letter in form:
                hashes.append((_hash(hashes[-1], alphabet.numbers[letter]) + 2**63) % 2**64 - 2**63)  # as int64 wraps
            return hashes[1:]
    return []
