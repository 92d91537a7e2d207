"""Paths (one symbol or blank for each frame), and the characters and words that they spell, with times.

Legend: B clips, T frames, V symbols, U labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torchaudio
from torch import Tensor

from zoo.models.ctc.alphabet import Alphabet
from zoo.nn.masking import lengths_to_mask
from zoo.text.transcript import Word


@dataclass(frozen=True)
class Character:
    """A symbol that a path emits in frames start ... stop; probability: the highest of these frames."""

    symbol: int
    start: int
    stop: int
    probability: float


def greedy(scores: Tensor, lengths: Tensor) -> Tensor:
    """scores (B, T, V), lengths (B,) -> the likeliest path (B, T); blank after each clip."""
    real = lengths_to_mask(lengths, scores.shape[1], scores.device)
    return torch.where(real, scores.argmax(-1), Alphabet.blank)


def collapse(paths: Tensor) -> list[list[int]]:
    """paths (B, T) -> the labels of each: repetitions once, without blanks."""
    first = torch.ones_like(paths[:, :1], dtype=torch.bool)
    is_label = torch.cat([first, paths[:, 1:] != paths[:, :-1]], dim=1) & (paths != Alphabet.blank)  # (B, T)
    return [path[mask].tolist() for path, mask in zip(paths, is_label, strict=True)]


def align(log_probs: Tensor, labels: Sequence[int]) -> Tensor:
    """log_probs (T, V), labels of a sequence that fits into T frames -> the likeliest path (T,) that spells it."""
    if not labels:
        return log_probs.new_full((len(log_probs),), Alphabet.blank, dtype=torch.int64)
    path, _ = torchaudio.functional.forced_align(log_probs[None].float(), torch.tensor([list(labels)]), blank=0)
    return path[0].long()


def characters(path: Tensor, log_probs: Tensor) -> list[Character]:
    """path (T,), log_probs (T, V) -> its symbols in order."""
    if not len(path):
        return []
    symbols, counts = path.unique_consecutive(return_counts=True)
    probabilities = log_probs.gather(1, path[:, None])[:, 0].exp()  # (T,)
    characters, start = [], 0
    for symbol, count in zip(symbols.tolist(), counts.tolist(), strict=True):
        if symbol != Alphabet.blank:
            probability = float(probabilities[start : start + count].max())
            characters.append(Character(symbol, start, start + count, probability))
        start += count
    return characters


def words(characters: Sequence[Character], alphabet: Alphabet, rate: float, offset: float = 0.0) -> list[Word]:
    """Characters as words, each with its leading space. rate: frames a second; offset: s, where frame 0 begins.

    A word begins with its first character and ends with its last one. CTC emits a character once, at any time while it
    sounds, so ends tend to be early.
    """
    words: list[Word] = []
    group: list[Character] = []
    for character in [*characters, None]:
        if character is not None and character.symbol != alphabet.boundary:
            group += [character] if alphabet.is_text[character.symbol] else []
        elif group:
            text = alphabet.decode(c.symbol for c in group)
            probability = sum(c.probability for c in group) / len(group)
            words.append(Word(f" {text}", offset + group[0].start / rate, offset + group[-1].stop / rate, probability))
            group = []
    return words
