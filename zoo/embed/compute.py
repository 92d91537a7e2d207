"""Batches of decoded clips -> rows. One clip that the encoder refuses does not take its batch with it.

Legend: L layers, B batch, T frames, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.audio import Clip
from zoo.embed.settings import EmbedSettings
from zoo.embed.writer import EmbeddingRow, Failure
from zoo.encoder import Encoder
from zoo.errors import AudioError

# Frames of longer clips are taken from `Encoder.stream` and cut into rows of this length.
PART_SECONDS = 60.0


class DecodedClip(NamedTuple):
    """A clip at the encoder's sample rate. number: its item's place in the plan; start: seconds into the file."""

    number: int
    start: float
    clip: Clip


class Embedder:
    """batch -> rows: pooled, or frames where the settings name no pooling."""

    def __init__(self, encoder: Encoder, settings: EmbedSettings) -> None:
        self.encoder, self.layers = encoder, list(settings.layers)
        self.pooling, self.storage = settings.pooling, getattr(torch, settings.storage)

    def __call__(self, batch: Sequence[DecodedClip]) -> Iterator[EmbeddingRow | Failure]:
        """Rows of the batch's clips, in no promised order; a Failure comes last of its item, and voids its rows."""
        short: list[DecodedClip] = []
        for decoded in batch:
            if self.pooling is None and self._seconds(decoded) > PART_SECONDS:
                yield from self._parts(decoded)
            else:
                short.append(decoded)
        yield from self._whole(short)

    def _whole(self, batch: Sequence[DecodedClip]) -> Iterator[EmbeddingRow | Failure]:
        if not batch:
            return
        try:
            values = self._values([decoded.clip for decoded in batch])
        except AudioError as error:
            if len(batch) == 1:
                yield Failure(batch[0].number, error.reason)
                return
            for decoded in batch:  # which one it was is found out by taking each alone
                yield from self._whole([decoded])
            return
        for decoded, value in zip(batch, values, strict=True):
            yield self._row(decoded, 0, decoded.start, self._seconds(decoded), value)

    def _values(self, clips: list[Clip]) -> Sequence[Tensor]:
        """For each clip (L, D), or (L, T, D) frames."""
        rate = self.encoder.sample_rate
        if self.pooling is not None:
            return self.encoder.embed(clips, rate, layer=self.layers, pooling=self.pooling).unbind(1)  # B x (L, D)
        return self.encoder.encode(clips, rate, layer=self.layers).unpad()  # B x (L, T, D)

    def _parts(self, decoded: DecodedClip) -> Iterator[EmbeddingRow | Failure]:
        """The frames of a long clip as they come, in rows of PART_SECONDS; the last one is shorter."""
        size = round(PART_SECONDS * self.encoder.frame_rate)
        seconds, whole = size / self.encoder.frame_rate, self._seconds(decoded)
        held, part = torch.empty(len(self.layers), 0, self.encoder.dim), 0

        def row() -> EmbeddingRow | Failure:
            begin = part * seconds
            return self._row(decoded, part, decoded.start + begin, min(seconds, whole - begin), held[:, :size])

        try:
            for frames in self.encoder.stream(decoded.clip, self.encoder.sample_rate, layer=self.layers):  # (L, T, D)
                held = torch.cat([held, frames], dim=1)
                while held.shape[1] >= size:
                    yield (outcome := row())
                    if isinstance(outcome, Failure):
                        return
                    held, part = held[:, size:], part + 1
        except AudioError as error:
            yield Failure(decoded.number, error.reason)
            return
        if held.shape[1]:
            yield row()

    def _row(
        self, decoded: DecodedClip, part: int, start: float, duration: float, values: Tensor
    ) -> EmbeddingRow | Failure:
        stored = values.to(self.storage, copy=True)  # not a view of the batch, which can go
        if not torch.isfinite(stored).all():
            kind = str(self.storage).removeprefix("torch.")
            return Failure(decoded.number, f"the encoder gave values that {kind} cannot hold (infinite or NaN)")
        return EmbeddingRow(decoded.number, part, start, duration, stored.numpy())

    def _seconds(self, decoded: DecodedClip) -> float:
        return len(decoded.clip) / self.encoder.sample_rate
