"""Batches of decoded clips -> rows. If the encoder rejects a clip, the rest of its batch is still embedded.

Legend: L layers, B batch, T frames, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from zoo.audio import Clip
from zoo.embed.settings import EmbedSettings
from zoo.embed.writer import EmbeddingRow
from zoo.encoder import Encoder
from zoo.errors import AudioError
from zoo.jobs.shards import Failure
from zoo.jobs.task import Decoded

# Frames of longer clips come from `Encoder.stream` and are cut into rows of this length.
PART_SECONDS = 60.0


class Embedder:
    """batch -> rows: pooled embeddings, or frames if `pooling` is None."""

    def __init__(self, encoder: Encoder, settings: EmbedSettings) -> None:
        self.encoder, self.layers = encoder, list(settings.layers)
        self.pooling, self.storage = settings.pooling, getattr(torch, settings.storage)

    def __call__(self, batch: Sequence[Decoded]) -> Iterator[EmbeddingRow | Failure]:
        """Rows of the clips, in any order. A Failure is the last outcome of its item and cancels the item's rows."""
        short: list[Decoded] = []
        for decoded in batch:
            if self.pooling is None and self._seconds(decoded) > PART_SECONDS:
                yield from self._embed_long(decoded)
            else:
                short.append(decoded)
        yield from self._embed_batch(short)

    def _embed_batch(self, batch: Sequence[Decoded]) -> Iterator[EmbeddingRow | Failure]:
        if not batch:
            return
        try:
            values = self._values([decoded.clip for decoded in batch])
        except AudioError as error:
            if len(batch) == 1:
                yield Failure(batch[0].item_index, error.reason)
                return
            for decoded in batch:  # embed one at a time to find the bad clip
                yield from self._embed_batch([decoded])
            return
        for decoded, value in zip(batch, values, strict=True):
            yield self._row(decoded, 0, decoded.item.start or 0.0, self._seconds(decoded), value)

    def _values(self, clips: list[Clip]) -> Sequence[Tensor]:
        """One tensor for each clip: (L, D) pooled, or (L, T, D) frames."""
        rate = self.encoder.sample_rate
        if self.pooling is not None:
            return self.encoder.embed(clips, rate, layer=self.layers, pooling=self.pooling).unbind(1)  # B x (L, D)
        return self.encoder.encode(clips, rate, layer=self.layers).unpad()  # B x (L, T, D)

    def _embed_long(self, decoded: Decoded) -> Iterator[EmbeddingRow | Failure]:
        """The frames of a long clip, streamed in rows of PART_SECONDS; the last row is shorter."""
        size = round(PART_SECONDS * self.encoder.frame_rate)
        seconds, total = size / self.encoder.frame_rate, self._seconds(decoded)
        buffer, part = torch.empty(len(self.layers), 0, self.encoder.dim), 0

        def row() -> EmbeddingRow | Failure:
            begin = part * seconds
            return self._row(
                decoded, part, (decoded.item.start or 0.0) + begin, min(seconds, total - begin), buffer[:, :size]
            )

        try:
            for frames in self.encoder.stream(decoded.clip, self.encoder.sample_rate, layer=self.layers):  # (L, T, D)
                buffer = torch.cat([buffer, frames], dim=1)
                while buffer.shape[1] >= size:
                    yield (outcome := row())
                    if isinstance(outcome, Failure):
                        return
                    buffer, part = buffer[:, size:], part + 1
        except AudioError as error:
            yield Failure(decoded.item_index, error.reason)
            return
        if buffer.shape[1]:
            yield row()

    def _row(
        self, decoded: Decoded, part: int, start: float, duration: float, values: Tensor
    ) -> EmbeddingRow | Failure:
        stored = values.to(self.storage, copy=True)  # a copy, so that the batch can be freed
        if not torch.isfinite(stored).all():
            kind = str(self.storage).removeprefix("torch.")
            return Failure(decoded.item_index, f"the encoder returned values that {kind} cannot hold (infinite or NaN)")
        return EmbeddingRow(decoded.item_index, part, start, duration, stored.numpy())

    def _seconds(self, decoded: Decoded) -> float:
        return len(decoded.clip) / self.encoder.sample_rate
