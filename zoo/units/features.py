"""Where the frames to be clustered come from: MFCC, or a layer of any encoder, straight from audio and never stored.

    entries --blocks--> decoded ahead by threads --Encoder.encode--> (T, D) of each clip, every `step`-th frame

Legend: T frames, D width.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
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

BLOCK_SECONDS = 4 * BATCH_SECONDS  # entries encoded together, and what a resumed run may have to repeat
_LONG_SECONDS = 300.0  # longer clips come window by window


class FramePart(NamedTuple):
    """Frames x (T, D) of entry number `place`, float32 on the CPU; a long clip comes in several, one after the other.

    error: why there are none; x is then empty.
    """

    place: int
    x: Tensor
    error: str | None = None


class FeatureBlock(NamedTuple):
    """Entries first ... last - 1 in the order given: the unit of work, and of resuming."""

    first: int
    last: int


@dataclass(frozen=True)
class FeatureSource:
    """Every `step`-th frame of one layer of an encoder. Make one with `mfcc39` or `layer`.

    centered: less the mean of the clip's frames (of a long clip, of each window's), most of which is who speaks and
    through what microphone (van Niekerk et al. 2021, arXiv 2108.00917).
    """

    encoder: Encoder
    layer: int
    step: int
    fingerprint: str
    centered: bool = False

    @property
    def title(self) -> str:
        """For people: of which model, which layer."""
        name = self.encoder.name or self.encoder.family
        return f"{name}, layer {self.layer}" + (", centered" if self.centered else "")

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.encoder.frame_rate / self.step

    @property
    def dim(self) -> int:
        return self.encoder.dim

    @property
    def center(self) -> float:
        """Seconds from the beginning of a clip to the middle of its first frame."""
        return self.encoder.frame_samples / 2 / self.encoder.sample_rate

    def describe(self) -> dict[str, Any]:
        """Plain values: all that the features depend on besides the audio."""
        return {
            "model": self.encoder.name or self.encoder.family,
            "fingerprint": self.fingerprint,
            "layer": self.layer,
            "step": self.step,
            "rate": self.rate,
            "center": self.center,
            "dim": self.dim,
            "preprocessing": self.encoder.preprocessing(),
        } | ({"centered": True} if self.centered else {})  # quantizers and labels of before do not know the word

    def check(self, described: dict[str, Any]) -> None:
        """Raises CheckpointError where `described` is of another source."""
        own = json.loads(json.dumps(self.describe()))
        for key in ("fingerprint", "preprocessing", "layer", "step", "centered"):
            if described.get(key) != own.get(key):
                raise CheckpointError(
                    f"units of {described['model']}, layer {described['layer']}, {described['rate']:g} Hz "
                    f"({described['fingerprint']}) do not go with {self.title}, {self.rate:g} Hz ({self.fingerprint}): "
                    f"the {key} differs; use the source that they were made with, or fit a new quantizer"
                )

    def blocks(self, entries: Sequence[Entry]) -> list[FeatureBlock]:
        """Consecutive entries of BLOCK_SECONDS together."""
        borders, held = [0], 0.0
        for i, entry in enumerate(entries):
            if held and held + entry.duration > BLOCK_SECONDS:
                borders.append(i)
                held = 0.0
            held += entry.duration
        return [FeatureBlock(a, b) for a, b in zip(borders, [*borders[1:], len(entries)], strict=True) if b > a]

    def frames(
        self, entries: Sequence[Entry], blocks: Sequence[FeatureBlock] | None = None, *, workers: int | None = None
    ) -> Iterator[Iterator[FramePart]]:
        """For each block (all of `entries` by default) its entries' frames, in order. Decoding runs ahead in threads.

        Unreadable and too short entries come with an error. What a block yields does not depend on others.
        """
        blocks = self.blocks(entries) if blocks is None else blocks
        items = [_planned(entry) for block in blocks for entry in entries[block.first : block.last]]
        read = partial(decode.read, sample_rate=self.encoder.sample_rate, min_samples=self.encoder.min_samples)
        threads = workers or min(8, os.cpu_count() or 1)
        with closing(decode.ahead(items, read, workers=threads, look_ahead_seconds=2 * BLOCK_SECONDS)) as clips:
            for block in blocks:
                outcomes = [outcome for _, outcome in islice(clips, block.last - block.first)]
                yield self._encode(block, outcomes)

    def _encode(self, block: FeatureBlock, outcomes: list[Clip | str]) -> Iterator[FramePart]:
        rate, longest = self.encoder.sample_rate, _LONG_SECONDS * self.encoder.sample_rate
        short = [i for i, clip in enumerate(outcomes) if not isinstance(clip, str) and len(clip) <= longest]
        known: dict[int, Tensor] = {}
        if short:
            encoded = self.encoder.encode([outcomes[i] for i in short], rate, layer=self.layer).unpad()
            known = dict(zip(short, encoded, strict=True))
        for i, clip in enumerate(outcomes):
            number = block.first + i
            if isinstance(clip, str):
                yield FramePart(number, torch.empty(0, self.dim), clip)
            elif i in known:
                yield FramePart(number, self._centered(known[i])[:: self.step])
            else:
                done = 0
                for x in self.encoder.stream(clip, self.encoder.sample_rate, layer=self.layer):  # (T_i, D)
                    yield FramePart(number, self._centered(x)[-done % self.step :: self.step])
                    done += len(x)

    def _centered(self, x: Tensor) -> Tensor:
        """(T, D) -> (T, D)"""
        return x - x.mean(0) if self.centered and len(x) else x


def layer(encoder: Encoder, k: int, rate: float | None = None, *, centered: bool = False) -> FeatureSource:
    """Layer k of an encoder. rate: Hz, a whole fraction of the encoder's frame rate, which is the default; centered: as
    FeatureSource has it.

    Raises ConfigError for a layer that is not there or a rate that its frames do not give.
    """
    (number,) = encoder.resolve_layers(k)
    step = 1 if rate is None else round(encoder.frame_rate / rate)
    if step < 1 or (rate is not None and abs(encoder.frame_rate / step - rate) > 1e-6 * rate):
        raise ConfigError(f"rate {rate:g} Hz: {encoder.name or encoder.family} gives {encoder.frame_rate:g} Hz / n")
    return FeatureSource(encoder, number, step, encoder.fingerprint(), centered)


def mfcc39(rate: float = 50.0, *, centered: bool = False) -> FeatureSource:
    """13 MFCC with first and second differences every 10 ms (HuBERT's first targets), of which every n-th is kept.

    rate: Hz of the model that is to predict the units, 100 / n; centered: as FeatureSource has it.
    """
    return layer(registry.create("mfcc"), 0, rate, centered=centered)


def _planned(entry: Entry) -> Planned:
    return Planned(str(entry.audio), entry.start, entry.end, None, None, entry.duration)
