"""The plan of an extraction: which items, in which shards, in which batches. A pure function of inputs and settings,
so that a shard computed after a crash has the bytes it would have had.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from typing import NamedTuple

from zoo.embed.settings import EmbedSettings
from zoo.io.text import dumps
from zoo.jobs.survey import Planned

# A shard is closed by whichever limit comes first: `shard_items`, an hour of audio (what a crash can cost) or the bytes
# of its embeddings (what is held in memory until it is written).
SHARD_SECONDS = 3600.0
SHARD_BYTES = 128 << 20
# A shorter clip counts as this long in a batch, which bounds the number of clips there.
LEAST_SECONDS = 0.1


class Shard(NamedTuple):
    """Items `start` to `stop` of the plan. key: hash of settings and items; a file that carries it is current."""

    number: int
    start: int
    stop: int
    key: str

    @property
    def name(self) -> str:
        return f"part-{self.number:05d}.parquet"


@dataclass(frozen=True)
class Plan:
    """Settings and items, cut into shards of consecutive items, each cut into batches of like length."""

    settings: EmbedSettings
    items: tuple[Planned, ...]
    folder: str  # the working directory that relative paths start from
    grown: tuple[int, ...] = ()  # places of the items with which later runs began: what was there keeps its shards

    def shards(self) -> list[Shard]:
        shards: list[Shard] = []
        base = hashlib.sha256(dumps(asdict(self.settings)).encode())
        start = 0
        while start < len(self.items):
            stop, digest = start, base.copy()
            seconds = size = 0.0
            border = min((place for place in self.grown if place > start), default=len(self.items))
            for item in self.items[start : min(border, start + self.settings.shard_items)]:
                seconds += item.seconds
                size += self.settings.count_bytes(item.seconds)
                if stop > start and (seconds > SHARD_SECONDS or size > SHARD_BYTES):
                    break
                digest.update(dumps(astuple(item)).encode())
                stop += 1
            digest.update(str(start).encode())
            shards.append(Shard(len(shards), start, stop, digest.hexdigest()[:16]))
            start = stop
        return shards

    def batches(self, shard: Shard) -> Iterator[list[int]]:
        """Places of the shard's readable items, longest first; at most `batch_seconds` a batch, with its padding."""
        numbers = [n for n in range(shard.start, shard.stop) if self.items[n].reason is None]
        numbers.sort(key=lambda n: (-self.items[n].seconds, n))
        while numbers:
            longest = max(self.items[numbers[0]].seconds, LEAST_SECONDS)
            count = max(1, int(self.settings.batch_seconds / longest))
            yield numbers[:count]
            numbers = numbers[count:]
