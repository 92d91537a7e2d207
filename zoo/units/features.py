"""Features to cluster: MFCC, or a layer of any encoder. They are computed from audio and never stored.

    entries --blocks--> decoded ahead in threads --Encoder.encode--> (T, D) of each clip, every `step`-th frame

Legend: T frames, D width.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from zoo import registry
from zoo.audio import Clip
from zoo.data.manifest import Entry
from zoo.defaults import BATCH_SECONDS
from zoo.encoder import Encoder
from zoo.errors import CheckpointError, ConfigError
from zoo.jobs import decode
from zoo.jobs.survey import Planned

BLOCK_SECONDS = 4 * BATCH_SECONDS  # audio encoded together; a resumed run may have to repeat one block
_LONG_SECONDS = 300.0  # longer clips are encoded window by window


class FramePart(NamedTuple):
    """Frames x (T, D) of one entry, float32 on the CPU. A long clip gives several parts, in order.

    entry_index: in the entries. error: why the entry has no frames, or None; with an error, x is empty.
    """

    entry_index: int
    x: Tensor
    error: str | None = None


class FeatureBlock(NamedTuple):
    """Entries first ... last - 1. A block is encoded at once; a killed run resumes at a block."""

    first: int
    last: int


@dataclass(frozen=True)
class FeatureSource:
    """Every `step`-th frame of one layer of an encoder. Make one with `mfcc39` or `layer`.

    centered: subtract the mean over the frames of the clip (for a long clip: of each window). The mean mostly encodes
    the speaker and the microphone (van Niekerk et al. 2021, arXiv 2108.00917).
    """

    encoder: Encoder
    layer: int
    step: int
    fingerprint: str
    centered: bool = False

    @property
    def title(self) -> str:
        """Model and layer, for messages."""
        name = self.encoder.name or self.encoder.family
        return f"{name}, layer {self.layer}" + (", centered" if self.centered else "")

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.encoder.frame_rate / self.step

    @property
    def dim(self) -> int:
        return self.encoder.dim

    @property
    def center(self) -> float:
        """Seconds from the start of a clip to the middle of its first frame."""
        return self.encoder.first_time

    def describe(self) -> dict[str, Any]:
        """Everything besides the audio that the features depend on, as plain values."""
        return {
            "model": self.encoder.name or self.encoder.family,
            "fingerprint": self.fingerprint,
            "layer": self.layer,
            "step": self.step,
            "rate": self.rate,
            "center": self.center,
            "dim": self.dim,
            "preprocessing": self.encoder.preprocessing(),
        } | ({"centered": True} if self.centered else {})  # older quantizers and labels do not have this key

    def check(self, described: dict[str, Any]) -> None:
        """Raise CheckpointError if `described` is the description of another source."""
        own = json.loads(json.dumps(self.describe()))
        for key in ("fingerprint", "preprocessing", "layer", "step", "centered"):
            if described.get(key) != own.get(key):
                raise CheckpointError(
                    f"units of {described['model']}, layer {described['layer']}, {described['rate']:g} Hz "
                    f"({described['fingerprint']}) do not match {self.title}, {self.rate:g} Hz ({self.fingerprint}): "
                    f"{key} differs; use the source that they were made with, or fit a new quantizer"
                )

    def blocks(self, entries: Sequence[Entry]) -> list[FeatureBlock]:
        """Blocks of consecutive entries with BLOCK_SECONDS of audio together."""
        starts, seconds = [0], 0.0
        for i, entry in enumerate(entries):
            if seconds and seconds + entry.duration > BLOCK_SECONDS:
                starts.append(i)
                seconds = 0.0
            seconds += entry.duration
        return [FeatureBlock(a, b) for a, b in zip(starts, [*starts[1:], len(entries)], strict=True) if b > a]

    def frames(
        self, entries: Sequence[Entry], blocks: Sequence[FeatureBlock] | None = None, *, workers: int | None = None
    ) -> Generator[Iterator[FramePart], None, None]:
        """For each block (by default all blocks of `entries`), the frames of its entries, in order.

        Audio is decoded ahead in `workers` threads. Unreadable and too short entries give a part with an error. The
        frames of a block do not depend on other blocks.
        """
        blocks = self.blocks(entries) if blocks is None else blocks
        items = [_planned(entry) for block in blocks for entry in entries[block.first : block.last]]
        read = partial(decode.read, sample_rate=self.encoder.sample_rate, min_samples=self.encoder.min_samples)
        threads = workers or min(8, os.cpu_count() or 1)
        with closing(decode.ahead(items, read, workers=threads, look_ahead_seconds=2 * BLOCK_SECONDS)) as clips:
            for block in blocks:
                # No variable here: a long clip is a temporary file, and is freed when its frames have been used.
                yield self._encode([outcome for _, outcome in islice(clips, block.last - block.first)], block.first)

    def encode(self, clips: Sequence[Clip]) -> Iterator[FramePart]:
        """The frames of decoded clips, in order."""
        return self._encode(clips, 0)

    def _encode(self, outcomes: Sequence[Clip | str], first: int) -> Iterator[FramePart]:
        """The frames of a block. outcomes: decoded clips and reasons of failures; first: index of its first entry."""
        rate, longest = self.encoder.sample_rate, _LONG_SECONDS * self.encoder.sample_rate
        short = [i for i, clip in enumerate(outcomes) if not isinstance(clip, str) and len(clip) <= longest]
        encoded_frames: dict[int, Tensor] = {}
        if short:
            encoded = self.encoder.encode([outcomes[i] for i in short], rate, layer=self.layer).unpad()
            encoded_frames = dict(zip(short, encoded, strict=True))
        for i, clip in enumerate(outcomes):
            index = first + i
            if isinstance(clip, str):
                yield FramePart(index, torch.empty(0, self.dim), clip)
            elif i in encoded_frames:
                yield FramePart(index, self._centered(encoded_frames[i])[:: self.step])
            else:
                num_frames = 0
                for x in self.encoder.stream(clip, self.encoder.sample_rate, layer=self.layer):  # (T_i, D)
                    yield FramePart(index, self._centered(x)[-num_frames % self.step :: self.step])
                    num_frames += len(x)

    def _centered(self, x: Tensor) -> Tensor:
        """(T, D) -> (T, D)"""
        return x - x.mean(0) if self.centered and len(x) else x


def layer(encoder: Encoder, k: int, rate: float | None = None, *, centered: bool = False) -> FeatureSource:
    """Layer k of an encoder as a feature source.

    rate: Hz; the encoder's frame rate (default) divided by a whole number. centered: see FeatureSource.
    Raises ConfigError if the encoder does not have this layer or cannot give this rate.
    """
    (number,) = encoder.resolve_layers(k)
    step = 1 if rate is None else round(encoder.frame_rate / rate)
    if step < 1 or (rate is not None and abs(encoder.frame_rate / step - rate) > 1e-6 * rate):
        raise ConfigError(
            f"rate {rate:g} Hz: {encoder.name or encoder.family} gives {encoder.frame_rate:g} Hz / n; choose one"
        )
    return FeatureSource(encoder, number, step, encoder.fingerprint(), centered)


def mfcc39(rate: float = 50.0, *, centered: bool = False) -> FeatureSource:
    """13 MFCC with first and second differences (the first targets of HuBERT).

    rate: Hz, 100 / n; use the frame rate of the model that will predict the units. centered: see FeatureSource.
    Raises ConfigError for another rate.
    """
    return layer(registry.create("mfcc"), 0, rate, centered=centered)


def _planned(entry: Entry) -> Planned:
    return Planned(str(entry.audio), entry.start, entry.end, None, None, entry.duration)
