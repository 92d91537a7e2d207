"""ABX error of phone tokens: is X, of phone A, farther from a token of A than from one of another phone B?

    d(X, A) > d(X, B)   an error; equal distances are half an error
    within speakers     A, B and X are of one speaker
    across speakers     A and B are of one speaker, X of another one

The distance of two tokens is dynamic time warping over angles between frames: the cost of the best path, divided by its
length (Schatz 2016; ZeroSpeech 2021, arXiv 2011.11588; the rules are those of fastabx 0.9, which SpidR reports).
A cell holds all triples of two phones, a context, a speaker, and a speaker of X. Its error is the mean over triples.
Errors are averaged over contexts and speakers of X, then over speakers, then over pairs of phones; without contexts,
over all speakers at once.

Legend: T frames, D width, P pairs of tokens, C cells, G groups.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

SEED = 0
BLOCK = 64  # tokens


@dataclass(frozen=True)
class Token:
    """One phone in a clip. clip: number of the clip. start, end: s. context: the phones beside it; () for any."""

    phone: str
    speaker: str
    context: tuple[str, ...]
    clip: int
    start: float
    end: float


@dataclass
class Cells:
    """Errors of cells (C,), what they belong to, and their errors without single groups.

    without: for each group, the cells that it is in, and their errors without it; NaN if no triple is left.
    """

    by_context: bool
    phones: list[tuple[str, str]] = field(default_factory=list)
    speakers: list[str] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    without: dict[int, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))

    def error(self) -> float:
        """The ABX error; NaN without any cell."""
        return self._collapse(np.array(self.errors))

    def error_without(self, group: int) -> float:
        """The ABX error without the tokens of a group."""
        errors = np.array(self.errors)
        for cell, error in self.without.get(group, ()):
            errors[cell] = error
        return self._collapse(errors)

    def _collapse(self, errors: np.ndarray) -> float:
        """The mean over cells of one speaker, over speakers, and over pairs of phones. NaN are left out."""
        if not len(errors):
            return float("nan")
        pairs = np.unique(np.array(self.phones), axis=0, return_inverse=True)[1].ravel()
        if self.by_context:
            speakers = np.unique(self.speakers, return_inverse=True)[1]
            keys, of_cell = np.unique(np.stack([pairs, speakers]), axis=1, return_inverse=True)
            errors, pairs = _means(errors, of_cell.ravel()), keys[0]
        return float(np.nanmean(_means(errors, pairs)))


def cells(
    tokens: Sequence[Token], frames: Sequence[np.ndarray], groups: np.ndarray, *, across: bool, others: int = 5
) -> Cells:
    """All cells. frames: of each token (T, D). groups: number of the group of each token.

    others: with `across`, at most so many speakers of X, drawn at random, for each speaker and context.
    """
    contexts: dict[tuple[str, ...], dict[str, dict[str, list[int]]]] = {}  # context -> speaker -> phone -> tokens
    for number, token in enumerate(tokens):
        of_speaker = contexts.setdefault(token.context, {}).setdefault(token.speaker, {})
        of_speaker.setdefault(token.phone, []).append(number)
    found = Cells(by_context=any(token.context for token in tokens))
    generator = np.random.default_rng(SEED)
    units = [_unit(each) for each in frames]
    for _, speakers in sorted(contexts.items()):
        for speaker, phones in sorted(speakers.items()):
            if len(phones) < 2:
                continue
            sources = [speaker]
            if across:
                possible = sorted(set(speakers) - {speaker})
                sources = [possible[index] for index in generator.permutation(len(possible))[:others]]
            for source in sources:
                _add_cells(found, phones, speakers[source], speaker, units, groups)
    return found


def _add_cells(
    found: Cells,
    phones: dict[str, list[int]],
    of_x: dict[str, list[int]],
    speaker: str,
    units: Sequence[np.ndarray],
    groups: np.ndarray,
) -> None:
    """Add the cells of one speaker of A and B, and one of X, in one context. phones, of_x: phone -> tokens."""
    together = [number for _, numbers in sorted(phones.items()) for number in numbers]
    column = {number: index for index, number in enumerate(together)}
    for a, x_tokens in sorted(of_x.items()):
        a_tokens = phones.get(a, [])
        same = a_tokens == x_tokens
        if not a_tokens or (same and len(a_tokens) < 2):
            continue
        to_all = _distances([units[x] for x in x_tokens], [units[number] for number in together])  # (X, all)
        to_a = to_all[:, [column[number] for number in a_tokens]]
        allowed = ~np.eye(len(x_tokens), dtype=bool) if same else np.ones(to_a.shape, dtype=bool)
        for b, b_tokens in sorted(phones.items()):
            if b == a:
                continue
            to_b = to_all[:, [column[number] for number in b_tokens]]
            wrong = 0.5 * (1 + np.sign(to_a[:, :, None] - to_b[:, None, :]))  # (X, A, B)
            valid = np.broadcast_to(allowed[:, :, None], wrong.shape)
            cell = len(found.errors)
            found.phones.append((a, b))
            found.speakers.append(speaker)
            found.errors.append(float(wrong[valid].mean()))
            of_tokens = (groups[x_tokens], groups[a_tokens], groups[b_tokens])
            for group in np.unique(np.concatenate(of_tokens)).tolist():
                x, y, z = (each != group for each in of_tokens)
                left = valid & x[:, None, None] & y[None, :, None] & z[None, None, :]
                found.without[group].append((cell, float(wrong[left].mean()) if left.any() else float("nan")))


def _unit(frames: np.ndarray) -> np.ndarray:
    """Frames (T, D) of length 1, in float64: the angle of nearly equal frames needs it."""
    x = frames.astype(np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1)


def _distances(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> np.ndarray:
    """Distances (len(first), len(second)) of tokens with frames of length 1."""
    rows, of_first = _padded(first)
    found = []
    for start in range(0, len(second), BLOCK):
        columns, of_second = _padded(second[start : start + BLOCK])
        dot = np.einsum("itd,jsd->ijts", rows, columns, optimize=True)
        angles = np.arccos(np.clip(dot, -1, 1)) / np.pi
        pairs = angles.reshape(-1, *angles.shape[2:])  # (P, T, S)
        lengths = np.repeat(of_first, len(of_second)), np.tile(of_second, len(of_first))
        found.append(warped(pairs, *lengths).reshape(len(of_first), len(of_second)))
    return np.concatenate(found, axis=1)


def _padded(tokens: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens as one array (n, T, D) with zeros after their end, and their lengths (n,)."""
    lengths = np.array([len(token) for token in tokens])
    padded = np.zeros((len(tokens), lengths.max(), tokens[0].shape[1]))
    for row, token in zip(padded, tokens, strict=True):
        row[: len(token)] = token
    return padded, lengths


def warped(costs: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Cost of the best path from the first to the last frames, by its length: (P,).

    costs (P, T, S): between frames; rows, columns (P,): frames of both tokens. Of equal steps, the diagonal one is
    taken, then the one along columns.
    """
    count, height, width = costs.shape
    total, steps = np.zeros_like(costs), np.ones(costs.shape)
    total[:, 0, 0] = costs[:, 0, 0]
    for i in range(height):
        for j in range(width):
            if i == j == 0:
                continue
            if i == 0 or j == 0:
                row, column = (0, j - 1) if i == 0 else (i - 1, 0)
                least, length = total[:, row, column], steps[:, row, column]
            else:
                diagonal, left, up = total[:, i - 1, j - 1], total[:, i, j - 1], total[:, i - 1, j]
                least = np.minimum(np.minimum(diagonal, left), up)
                length = np.where(
                    diagonal <= np.minimum(left, up),
                    steps[:, i - 1, j - 1],
                    np.where(left <= up, steps[:, i, j - 1], steps[:, i - 1, j]),
                )
            total[:, i, j] = costs[:, i, j] + least
            steps[:, i, j] = 1 + length
    last = np.arange(count), rows - 1, columns - 1
    return total[last] / steps[last]


def _means(values: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Mean of the values with each number; NaN are left out."""
    defined = np.isfinite(values)
    size = int(number.max()) + 1
    sums = np.bincount(number[defined], values[defined], minlength=size)
    counts = np.bincount(number[defined], minlength=size)
    return np.divide(sums, counts, out=np.full(size, np.nan), where=counts > 0)
