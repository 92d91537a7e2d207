"""A uniform sample of a stream of rows, in bounded memory (Vitter 1985, algorithm R).

Legend: N rows of a part, D width, M rows held at most.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from zoo.errors import ConfigError

SAMPLE_BYTES = 512 << 20


class Reservoir:
    """Every row of the stream is held with the same probability; all are, as long as they fit.

    The sample depends on seed and rows alone, not on the parts that they come in. seen: rows so far.
    """

    def __init__(self, limit_bytes: int, seed: int) -> None:
        self.limit_bytes = limit_bytes
        self.seed = seed
        self.seen = 0
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._held = torch.empty(0, 0)

    @classmethod
    def restore(cls, rows: Tensor, seen: int, limit_bytes: int, seed: int) -> Reservoir:
        """The state after `seen` rows, of which `rows` are held."""
        sample = cls(limit_bytes, seed)
        if seen:
            sample.add(rows)
            sample.seen = seen
        sample._random = np.random.Generator(np.random.PCG64(seed).advance(max(0, seen - len(sample._held))))
        return sample

    def add(self, x: Tensor) -> None:
        """x (N, D). Raises ConfigError where D is not what it was."""
        if not self.seen:
            capacity = max(1, self.limit_bytes // (4 * x.shape[1]))
            self._held = torch.empty(capacity, x.shape[1])  # pages are taken from the system when they are written
        if x.shape[1] != self._held.shape[1]:
            raise ConfigError(f"rows of {self._held.shape[1]} features are followed by rows of {x.shape[1]}")
        room = max(0, len(self._held) - self.seen)
        self._held[self.seen : self.seen + len(x[:room])] = x[:room]
        self._replace(x[room:], max(self.seen, len(self._held)))
        self.seen += len(x)

    def rows(self) -> Tensor:
        """The sample: (min(M, seen), D) float32."""
        return self._held[: self.seen]

    def rows_for(self, k: int) -> Tensor:
        """`rows`, of which k clusters are to be made. Raises ConfigError where k of the rows seen did not fit."""
        if len(self.rows()) < k <= self.seen:
            raise ConfigError(
                f"sample_bytes {self.limit_bytes}: only {len(self._held)} rows fit, {k} at least are needed; give "
                f"{4 * k * self._held.shape[1]} or more"
            )
        return self.rows()

    def _replace(self, x: Tensor, before: int) -> None:
        """Row number i of the stream takes the place of any of those held with probability M / (i + 1)."""
        if not len(x):
            return
        numbers = np.arange(before, before + len(x))
        places = (self._random.random(len(x)) * (numbers + 1)).astype(np.int64)
        (taken,) = np.nonzero(places < len(self._held))
        latest = dict(zip(places[taken].tolist(), taken.tolist(), strict=True))  # of rows for one place the last stays
        self._held[list(latest)] = x[list(latest.values())].float().cpu()


def check_finite(x: Tensor, name: str = "features") -> None:
    """Raises ConfigError where x holds NaN or infinity."""
    if not math.isfinite(float(x.sum(dtype=torch.float64))):
        raise ConfigError(f"{name}: the features hold NaN or infinity, which k-means cannot place")
