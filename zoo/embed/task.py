"""`zoo embed` as a task of the job engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from zoo.embed.compute import Embedder
from zoo.embed.settings import EmbedSettings
from zoo.embed.writer import EmbeddingRow, EmbeddingWriter
from zoo.encoder import Encoder
from zoo.jobs import decode
from zoo.jobs.lists import Item
from zoo.jobs.plan import Limits, Plan, Shard
from zoo.jobs.shards import PARQUET, Failure
from zoo.jobs.task import Advance, Decoded
from zoo.loading import open_encoder

# Limits of a shard, besides `shard_items`: audio (the work that a crash can lose), and bytes of embeddings.
SHARD_SECONDS = 3600.0
SHARD_BYTES = 128 << 20
# Audio decoded ahead of the encoder, in batches. With a few batches, one slow file does not stop the encoder.
LOOK_AHEAD_BATCHES = 4


class EmbedTask:
    """Clips -> embeddings of an encoder -> Parquet."""

    name = "embed"
    suffix = PARQUET

    def __init__(self, encoder: Encoder, settings: EmbedSettings, out: Path) -> None:
        self.errors: Path | None = out
        self.settings = settings.as_json()
        self.limits = Limits(
            items=settings.shard_items,
            seconds=SHARD_SECONDS,
            batch_seconds=settings.batch_seconds,
            size=SHARD_BYTES,
            item_size=settings.count_bytes(0.0),
            second_size=settings.count_bytes(1.0) - settings.count_bytes(0.0),
        )
        self.look_ahead_seconds = LOOK_AHEAD_BATCHES * settings.batch_seconds
        self.read = partial(decode.read, sample_rate=encoder.sample_rate, min_samples=encoder.min_samples)
        self.device = settings.device
        self._embedder = Embedder(encoder, settings)
        self._settings = settings

    def select(self, items: Sequence[Item]) -> list[Sequence[Item]]:
        """All items; the engine keeps the shards that are up to date."""
        return [items]

    def compute(self, batch: Sequence[Decoded], advance: Advance) -> Iterator[EmbeddingRow | Failure]:
        """Rows of the clips."""
        for outcome in self._embedder(batch):
            if isinstance(outcome, EmbeddingRow):
                advance(outcome.duration)
            yield outcome

    def writer(self, path: Path, plan: Plan, shard: Shard) -> EmbeddingWriter:
        """A writer of Parquet."""
        return EmbeddingWriter(path, plan, shard, self._settings)

    def collect(self, path: Path, plan: Plan) -> None:
        """The engine counts."""

    def finish(self, folder: Path, plan: Plan, failures: Sequence[Failure]) -> None:
        """The parts are the result."""


def load_task(model: str | Path, device: str, dtype: str, settings: EmbedSettings, out: Path) -> EmbedTask:
    """The task in another process."""
    return EmbedTask(open_encoder(model, device, dtype)[0], settings, out)
