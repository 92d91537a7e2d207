"""A decoder for tests of search: a random but fixed distribution after every prefix."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class FakeIds:
    """A vocabulary of 12 words, the specials, and 6 timestamps."""

    eot, sot, translate, transcribe, sot_lm, sot_prev, no_speech, no_timestamps = range(12, 20)
    timestamp_begin = 20
    size = 26

    def __init__(self) -> None:
        self.languages: dict[str, int] = {}

    def encode(self, text: str) -> list[int]:
        return [0] if text == " " else [1 + ord(c) % 11 for c in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(f" w{i}" for i in ids if i < self.eot)

    def non_speech_tokens(self) -> tuple[int, ...]:
        return (3, 5)


class FakeRows:
    """Rows with logits that depend on the name of their window and their tokens; counts calls and rows."""

    def __init__(self, names: Sequence[int], ids: FakeIds, sharpness: float = 2.0) -> None:
        self.names, self.ids, self.sharpness = list(names), ids, sharpness
        self.histories: list[tuple[int, ...]] = [() for _ in names]
        self.steps, self.rows_stepped = 0, 0

    def logits(self, row: int, group: int) -> np.ndarray:
        key = repr((self.names[row // group], self.histories[row])).encode()
        seed = int.from_bytes(hashlib.sha256(key).digest()[:8], "little")
        values: np.ndarray = np.random.default_rng(seed).normal(size=self.ids.size) * self.sharpness
        values[self.ids.eot] += 0.25 * len(self.histories[row])
        return values

    def _all(self) -> Tensor:
        group = len(self.histories) // len(self.names)
        return torch.tensor(np.stack([self.logits(r, group) for r in range(len(self.histories))]), dtype=torch.float32)

    def begin(self) -> tuple[Tensor, Tensor]:
        return self._all(), self._all()

    def step(self, tokens: Tensor) -> Tensor:
        assert len(tokens) == len(self.histories)
        self.steps, self.rows_stepped = self.steps + 1, self.rows_stepped + len(tokens)
        self.histories = [(*h, int(t)) for h, t in zip(self.histories, tokens, strict=True)]
        return self._all()

    def select(self, rows: Tensor, windows: Tensor | None = None) -> None:
        group = len(rows) // (len(self.names) if windows is None else len(windows))
        owners = [self.names[int(r) * len(self.names) // len(self.histories)] for r in rows]
        if windows is not None:
            self.names = [self.names[int(w)] for w in windows]
        assert owners == [name for name in self.names for _ in range(group)], "a row changed its window"
        self.histories = [self.histories[int(r)] for r in rows]
