"""Assign items to batches, as a pure function of (seed, epoch), so that a run can be resumed from two numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.errors import ConfigError

POOL_BATCHES = 64  # shuffled items are sorted by length within pools of about this many batches
JITTER = 0.1  # relative noise on the sort key, so that small corpora do not get the same batches in every epoch


@dataclass(frozen=True)
class Cursor:
    """A position in the endless sequence of batches: the next one is batch `position` of `epoch`."""

    epoch: int = 0
    position: int = 0


class BatchSampler:
    """Batches of items of similar length.

    seconds: length of each item. batch_seconds: limit of a batch with its padding (longest x count); a longer item gets
    its own batch. max_items: limit of the count.
    shuffle: a new order every epoch; otherwise sorted by length, always the same.
    even: batch sizes of an epoch differ by at most one item, for losses that compare the items of a batch. There are as
    few batches as max_items and batch_seconds allow, with every item counted as long as the longest.
    """

    def __init__(
        self,
        seconds: Sequence[float],
        batch_seconds: float,
        *,
        seed: int = 0,
        max_items: int | None = None,
        shuffle: bool = True,
        even: bool = False,
    ) -> None:
        if not len(seconds) or not batch_seconds > 0:
            raise ConfigError(
                f"no batches: {len(seconds)} items in batches of {batch_seconds} s; there must be items, and "
                "batch_seconds must be more than 0"
            )
        self.seconds = np.asarray(seconds, dtype=np.float64)  # (N,)
        self.batch_seconds, self.max_items = batch_seconds, max_items or len(seconds)
        self.seed, self.shuffle, self.even = seed, shuffle, even

    def plan(self, epoch: int) -> list[list[int]]:
        """The batches of one epoch, as indices; each item occurs once."""
        if not self.shuffle:
            return list(self._cut(np.argsort(self.seconds, kind="stable")))
        generator = np.random.default_rng([self.seed, epoch])
        order = generator.permutation(len(self.seconds))
        keys = self.seconds * generator.uniform(1 - JITTER, 1 + JITTER, len(self.seconds))
        pool = max(1, int(POOL_BATCHES * self.batch_seconds / self.seconds.mean()))
        parts = [order[first : first + pool] for first in range(0, len(order), pool)]
        parts = [part[np.argsort(keys[part], kind="stable")] for part in parts]
        batches = self._spread(np.concatenate(parts)) if self.even else [b for part in parts for b in self._cut(part)]
        return [batches[i] for i in generator.permutation(len(batches))]

    def stream(self, start: Cursor) -> Iterator[tuple[Cursor, list[int]]]:
        """An endless sequence of batches from `start` on, each with its position."""
        epoch, position = start.epoch, start.position
        while True:
            plan = self.plan(epoch)
            for index in range(position, len(plan)):
                yield Cursor(epoch, index), plan[index]
            epoch, position = epoch + 1, 0

    def _spread(self, order: np.ndarray) -> list[list[int]]:
        size = min(self.max_items, max(1, int(self.batch_seconds / self.seconds.max())))
        return [part.tolist() for part in np.array_split(order, -(-len(order) // size))]

    def _cut(self, order: np.ndarray) -> Iterator[list[int]]:
        batch: list[int] = []
        longest = 0.0
        for index in order.tolist():
            length = max(longest, float(self.seconds[index]))
            if batch and (length * (len(batch) + 1) > self.batch_seconds or len(batch) == self.max_items):
                yield batch
                batch, length = [], float(self.seconds[index])
            batch.append(index)
            longest = length
        if batch:
            yield batch
