"""The plan of an embedding run: items, shards and batches.

The plan depends on inputs and settings only. So a shard that is computed after a crash has the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from typing import NamedTuple

from zoo.embed.settings import EmbedSettings
from zoo.io.text import dumps
from zoo.jobs.lists import Label
from zoo.jobs.survey import Planned

# Limits of a shard, besides `shard_items`: audio (the work that a crash can lose), and bytes of embeddings (they stay
# in memory until the shard is written).
SHARD_SECONDS = 3600.0
SHARD_BYTES = 128 << 20
# A shorter clip counts as this long in a batch. This limits the number of clips in a batch.
MIN_SECONDS = 0.1


class Shard(NamedTuple):
    """Items `start` to `stop` - 1 of the plan. key: hash of settings and items; a file with this key is up to date."""

    number: int
    start: int
    stop: int
    key: str

    @property
    def name(self) -> str:
        return f"part-{self.number:05d}.parquet"


@dataclass(frozen=True)
class Plan:
    """Settings and items. Shards hold consecutive items; the batches of a shard hold items of similar length."""

    settings: EmbedSettings
    items: tuple[Planned, ...]
    folder: str  # relative paths are relative to this working directory
    grown: tuple[int, ...] = ()  # index of the first item that each later run added; a new shard starts there
    removed: frozenset[int] = frozenset()  # indices of pruned items: they have no rows, so the others keep their shards
    labels: tuple[tuple[Label, ...], ...] = ()  # of each item, if the settings have columns

    def shards(self) -> list[Shard]:
        shards: list[Shard] = []
        base = hashlib.sha256(dumps(asdict(self.settings)).encode())
        start = 0
        while start < len(self.items):
            stop, digest = start, base.copy()
            seconds = size = 0.0
            end = min((index for index in self.grown if index > start), default=len(self.items))
            for item in self.items[start : min(end, start + self.settings.shard_items)]:
                seconds += item.seconds
                size += self.settings.count_bytes(item.seconds)
                if stop > start and (seconds > SHARD_SECONDS or size > SHARD_BYTES):
                    break
                digest.update(dumps([*astuple(item), *self.labels_of(stop), stop in self.removed]).encode())
                stop += 1
            digest.update(str(start).encode())
            shards.append(Shard(len(shards), start, stop, digest.hexdigest()[:16]))
            start = stop
        return shards

    def labels_of(self, index: int) -> tuple[Label, ...]:
        """The values of the kept columns of an item."""
        return self.labels[index] if self.labels else ()

    def present(self, shard: Shard) -> list[int]:
        """Indices of the shard's items, without pruned ones."""
        return [index for index in range(shard.start, shard.stop) if index not in self.removed]

    def batches(self, shard: Shard) -> Iterator[list[int]]:
        """Indices of the shard's readable items, longest first. A padded batch has at most `batch_seconds` of audio."""
        indices = [i for i in self.present(shard) if self.items[i].reason is None]
        indices.sort(key=lambda i: (-self.items[i].seconds, i))
        while indices:
            longest = max(self.items[indices[0]].seconds, MIN_SECONDS)
            count = max(1, int(self.settings.batch_seconds / longest))
            yield indices[:count]
            indices = indices[count:]
