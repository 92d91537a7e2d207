"""A uniform sample of a stream of rows, in bounded memory (Vitter 1985, algorithm R).

Legend: N rows of a part, D width, M capacity of the sample.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from zoo.errors import ConfigError

SAMPLE_BYTES = 512 << 20


class Reservoir:
    """A sample in which each row of the stream has the same probability. A stream that fits is sampled completely.

    The sample depends on the seed and the rows only, not on how the rows are split into parts. seen: number of rows so
    far.
    """

    def __init__(self, limit_bytes: int, seed: int) -> None:
        self.limit_bytes = limit_bytes
        self.seed = seed
        self.seen = 0
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._sample = torch.empty(0, 0)

    @classmethod
    def restore(cls, rows: Tensor, seen: int, limit_bytes: int, seed: int) -> Reservoir:
        """The reservoir after `seen` rows. rows: its sample."""
        reservoir = cls(limit_bytes, seed)
        if seen:
            reservoir.add(rows)
            reservoir.seen = seen
        draws = max(0, seen - len(reservoir._sample))
        reservoir._random = np.random.Generator(np.random.PCG64(seed).advance(draws))
        return reservoir

    def add(self, x: Tensor) -> None:
        """Add rows x (N, D). Raises ConfigError if D changes."""
        if not self.seen:
            capacity = max(1, self.limit_bytes // (4 * x.shape[1]))
            self._sample = torch.empty(capacity, x.shape[1])  # memory is used when rows are written
        if x.shape[1] != self._sample.shape[1]:
            raise ConfigError(f"rows of {self._sample.shape[1]} features are followed by rows of {x.shape[1]}")
        room = max(0, len(self._sample) - self.seen)
        self._sample[self.seen : self.seen + len(x[:room])] = x[:room]
        self._replace(x[room:], max(self.seen, len(self._sample)))
        self.seen += len(x)

    def rows(self) -> Tensor:
        """The sample: (min(M, seen), D) float32."""
        return self._sample[: self.seen]

    def rows_for(self, k: int) -> Tensor:
        """`rows()` for k clusters. Raises ConfigError if the stream has k rows but the sample has fewer."""
        if len(self.rows()) < k <= self.seen:
            raise ConfigError(
                f"sample_bytes {self.limit_bytes}: only {len(self._sample)} rows fit, but {k} are needed; give "
                f"{4 * k * self._sample.shape[1]} or more"
            )
        return self.rows()

    def _replace(self, x: Tensor, first_row: int) -> None:
        """Row i of the stream replaces a random row of the sample with probability M / (i + 1). first_row: of x."""
        if not len(x):
            return
        row_numbers = np.arange(first_row, first_row + len(x))
        slots = (self._random.random(len(x)) * (row_numbers + 1)).astype(np.int64)
        (chosen,) = np.nonzero(slots < len(self._sample))
        latest = dict(zip(slots[chosen].tolist(), chosen.tolist(), strict=True))  # the last row for a slot wins
        self._sample[list(latest)] = x[list(latest.values())].float().cpu()


def check_finite(x: Tensor, name: str = "features") -> None:
    """Raise ConfigError if x has NaN or infinity. name: of x, for the message."""
    if not math.isfinite(float(x.sum(dtype=torch.float64))):
        raise ConfigError(f"{name}: the features have NaN or infinity, which k-means cannot cluster; remove such rows")
