"""Prefix beam search (Hannun et al. 2014, arXiv 1408.2873), all clips and prefixes of a batch at once.

Each prefix has a 64-bit hash, so that tensor operations find and add the paths of the same prefix:

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

MAX_SYMBOLS = 64  # likeliest symbols that are tried in a frame; an alphabet has fewer, Chinese has more
NONE = float("-inf")

Number = TypeVar("Number", int, Tensor)


@dataclass
class Prefixes:
    """The prefixes in the beam, (B, W) each.

    key: hash of the prefix; parent: hash of the prefix without its last symbol; last: that symbol, 0 for the empty
    prefix; blank, symbol: log-probability of the paths that end in a blank, or in the last symbol;
    bonus: of the language model so far; word: hash of the unfinished word, 0 for none; state: see `Fusion`.
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
        """The empty prefix, and free slots."""
        zeros = torch.zeros(batch, width, dtype=torch.int64)
        free = torch.full((batch, width), NONE)
        blank = free.clone()
        blank[:, 0] = 0.0
        key = (1 + torch.arange(width)).expand(batch, width)
        return cls(key, zeros, zeros, blank, free, torch.zeros(batch, width), zeros, zeros)

    @property
    def total(self) -> Tensor:
        return torch.logaddexp(self.blank, self.symbol)

    def select(self, rows: Tensor) -> Prefixes:
        """The prefixes at `rows` (B, W)."""
        return Prefixes(*(getattr(self, field.name).gather(1, rows) for field in fields(self)))


class Fusion:
    """A language model of words beside a CTC model of characters.

    Contexts of the language model get numbers in the order in which they appear. A word is scored at its boundary. A
    prefix that cannot become a known word is ranked as an unknown word before that.
    """

    def __init__(self, model: NGram, alphabet: Alphabet, weight: float, word_score: float) -> None:
        self.model, self.alphabet, self.weight, self.word_score = model, alphabet, weight, word_score
        self.contexts: list[Context] = [model.start]
        self.context_numbers = {model.start: 0}
        self.word_of = {hashes[-1]: word for word in model.words if (hashes := _prefix_hashes(alphabet, word))}
        self.known_prefixes = {key for word in model.words for key in _prefix_hashes(alphabet, word)}
        self.scores: dict[tuple[int, int], tuple[float, float, int]] = {}

    def __call__(self, state: Tensor, word: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """state, word (N,) of unfinished words -> bonus, outlook, state, (N,) each.

        bonus: if the word ends here; outlook: score by which it is ranked until it ends; state: after the word.
        """
        pairs = list(zip(state.tolist(), word.tolist(), strict=True))
        scores = [self.scores.get(pair) or self._score(pair) for pair in pairs]
        bonus, outlook, after = zip(*scores, strict=True)
        return torch.tensor(bonus), torch.tensor(outlook), torch.tensor(after)

    def end(self, state: Tensor) -> Tensor:
        """state (N,) -> bonus (N,) of the end of the sentence."""
        return torch.tensor([self.weight * self.model.score(self.contexts[s], END)[0] for s in state.tolist()])

    def _score(self, pair: tuple[int, int]) -> tuple[float, float, int]:
        state, word = pair
        log_prob, after = self.model.score(self.contexts[state], self.word_of.get(word, ""))
        if after not in self.context_numbers:
            self.context_numbers[after] = len(self.contexts)
            self.contexts.append(after)
        bonus = self.weight * log_prob + self.word_score
        self.scores[pair] = (bonus, 0.0 if word in self.known_prefixes else bonus, self.context_numbers[after])
        return self.scores[pair]


def beam_search(
    log_probs: Tensor, lengths: Tensor, *, width: int, alphabet: Alphabet, fusion: Fusion | None = None
) -> list[list[int]]:
    """The best labels of each clip. log_probs (B, T, V): normalized, float32 on the CPU; lengths (B,)."""
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
    """The beam after a frame p (B, V); for each new prefix the index of the old one (B, W) and its new symbol or 0."""
    width = beam.key.shape[1]
    symbols = p.topk(min(MAX_SYMBOLS, p.shape[1]), dim=1).indices  # (B, K)
    count = symbols.shape[1]
    total = beam.total
    repeats = symbols[:, None, :] == beam.last[..., None]  # (B, W, K): the same symbol again needs a blank between
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
    column = (chosen - width).clamp(min=0)
    origin = torch.where(stays, chosen, column // count)
    added = torch.where(stays, 0, symbols.gather(1, column % count))  # (B, W)

    old = beam.select(origin)
    boundary = ~stays & ends.gather(1, column % count)
    return (
        Prefixes(
            key=torch.where(stays, old.key, _hash(old.key, added)),
            parent=torch.where(stays, old.parent, old.key),
            last=torch.where(stays, old.last, added),
            blank=torch.where(stays, blank.gather(1, origin), NONE),
            symbol=torch.where(stays, symbol.gather(1, origin), grown.flatten(1).gather(1, column)),
            bonus=old.bonus + torch.where(boundary, bonus.gather(1, origin), 0.0),
            word=torch.where(stays, old.word, torch.where(boundary, 0, _hash(old.word, added))),
            state=torch.where(boundary, states.gather(1, origin), old.state),
        ),
        origin,
        added,
    )


def _merge(beam: Prefixes, p: Tensor, symbols: Tensor, total: Tensor, grown: Tensor) -> tuple[Tensor, Tensor]:
    """Merge grown prefixes with equal prefixes that are already in the beam.

    Prefix j is prefix i with one more symbol if parent_j = key_i. Returns the score that each prefix gains (B, W), and
    the grown prefixes that remain (B, W, K).
    """
    batch, width, count = grown.shape
    matches = (beam.parent[:, :, None] == beam.key[:, None, :]) & (beam.last > 0)[..., None]  # (B, W, W)
    in_beam, source = matches.any(2), matches.to(torch.uint8).argmax(2)  # (B, W)
    repeats = beam.last.gather(1, source) == beam.last
    before = torch.where(repeats, beam.blank.gather(1, source), total.gather(1, source))
    joining = torch.where(in_beam, before + p.gather(1, beam.last), NONE)
    columns = torch.full_like(p, count, dtype=torch.int64)
    columns.scatter_(1, symbols, torch.arange(count).expand(batch, count))  # (B, V): symbol -> column of grown
    column = columns.gather(1, beam.last)
    merged = torch.where(in_beam & (column < count), source * count + column, width * count)
    remaining = torch.cat([grown.flatten(1), grown.new_zeros(batch, 1)], dim=1).scatter(1, merged, NONE)
    return joining, remaining[:, :-1].view_as(grown)


def _word_bonus(beam: Prefixes, fusion: Fusion | None) -> tuple[Tensor, Tensor, Tensor]:
    """Bonus of each prefix (B, W) if its word ends here, its outlook if not, and the state after the word."""
    bonus, outlook, states = torch.zeros_like(beam.bonus), torch.zeros_like(beam.bonus), beam.state.clone()
    in_word = beam.word != 0
    if fusion is not None and in_word.any():
        bonus[in_word], outlook[in_word], states[in_word] = fusion(beam.state[in_word], beam.word[in_word])
    return bonus, outlook, states


def _finish(beam: Prefixes, fusion: Fusion) -> Tensor:
    """Bonus of each prefix at the end of the clip (B, W)."""
    bonus, _, states = _word_bonus(beam, fusion)
    return bonus + fusion.end(states.flatten()).view_as(bonus)


def _trace(steps: Sequence[tuple[Tensor, Tensor]], best: Tensor) -> list[list[int]]:
    """All symbols of the best prefixes, traced back from their indices (B,) in the last frame."""
    index, added = best[:, None], []
    for origin, symbol in reversed(steps):
        added.append(symbol.gather(1, index))
        index = origin.gather(1, index)
    if not added:
        return [[] for _ in best]
    rows = torch.cat(added[::-1], dim=1)  # (B, T)
    return [row[row > 0].tolist() for row in rows]


def _hash(key: Number, symbol: Number) -> Number:
    """Hash of a sequence with one more symbol; products wrap around."""
    mixed = key ^ (key >> 29)
    return mixed * 6364136223846793005 + (symbol + 1) * 1442695040888963407


def _prefix_hashes(alphabet: Alphabet, word: str) -> list[int]:
    """The hashes of all prefixes of a word in the beam; none if the alphabet lacks a letter."""
    for form in (word, word.lower(), word.upper()):
        if all(letter in alphabet.indices for letter in form):
            hashes = [0]
            for letter in form:
                hashes.append((_hash(hashes[-1], alphabet.indices[letter]) + 2**63) % 2**64 - 2**63)  # as int64 wraps
            return hashes[1:]
    return []
