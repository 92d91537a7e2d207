"""Entries as waveforms at the model's rate: whole, or a random crop that depends on the item's seed alone.

Legend: B batch, S samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from threading import Lock
from typing import Any, TypeVar

import torch
from torch import Tensor

from zoo import audio
from zoo.data.manifest import Entry
from zoo.errors import AudioError
from zoo.io.seeds import mix

LONG = 60.0  # s; of longer recordings only the crop is decoded, and they are not cached

B = TypeVar("B", bound="Batch")


@dataclass
class LoadedClip:
    """One waveform. wave (S,) float32; start: its first sample, counted in the entry; seed: for all that is random."""

    wave: Tensor
    index: int
    entry: Entry
    start: int
    seed: int


@dataclass(kw_only=True)
class Batch:
    """Padded waveforms and what they are.

    A recipe that has more to carry derives a dataclass: `Mine(**vars(Batch.of(items)), tokens=...)`.

    waves (B, S) float32, zero behind each; lengths (B,) samples; indices (B,) into the data set's entries;
    starts (B,) first sample of the crop at the model's rate;
    seeds (B,) int64: a function of (seed, epoch, index) alone, to draw masks from, so that they depend neither on the
    rest of the batch nor on the number of processes; seed: the same for the batch as a whole (dropout).
    """

    waves: Tensor
    lengths: Tensor
    indices: Tensor
    starts: Tensor
    seeds: Tensor
    entries: list[Entry]
    seed: int = 0

    @classmethod
    def of(cls, items: Sequence[LoadedClip]) -> Batch:
        waves, lengths = audio.pad([item.wave for item in items])
        return Batch(
            waves=waves,
            lengths=lengths,
            indices=torch.tensor([item.index for item in items]),
            starts=torch.tensor([item.start for item in items]),
            seeds=torch.tensor([item.seed for item in items]),
            entries=[item.entry for item in items],
        )

    def to(self: B, device: torch.device) -> B:
        """The batch with its tensors on `device`."""
        return self._map(lambda value: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value)

    def only(self: B, place: int) -> B:
        """The batch of one item."""
        return self._map(lambda value: value[place : place + 1] if isinstance(value, Tensor | list) else value)

    def _map(self: B, change: Callable[[Any], Any]) -> B:
        return type(self)(**{field.name: change(getattr(self, field.name)) for field in fields(self)})


class AudioDataset:
    """Entries at one sample rate.

    max_seconds: longer items are cropped to this, at a random place; None keeps them whole.
    min_samples: shorter items raise AudioError.
    cache_hours: decoded audio to keep in memory (230 MB an hour at 16 kHz).
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        sample_rate: int,
        *,
        max_seconds: float | None = None,
        min_samples: int = 1,
        cache_hours: float = 0.0,
    ) -> None:
        self.entries = list(entries)
        self.sample_rate, self.max_seconds, self.min_samples = sample_rate, max_seconds, min_samples
        self._room = int(cache_hours * 3600 * sample_rate)  # samples
        self._cache: dict[int, Tensor] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def seconds(self) -> list[float]:
        """Length of each item after cropping."""
        return [min(entry.duration, self.max_seconds or entry.duration) for entry in self.entries]

    def item(self, index: int, seed: int) -> LoadedClip:
        """Raises AudioError for audio that cannot be used."""
        entry = self.entries[index]
        if self.max_seconds is not None and entry.duration > max(LONG, self.max_seconds):
            wave, start = self._decode_crop(entry, seed)
        else:
            whole = self._whole(index)
            length = len(whole) if self.max_seconds is None else int(self.max_seconds * self.sample_rate)
            start = draw(seed, len(whole) - length)
            wave = whole[start : start + length]
        if len(wave) < self.min_samples:
            reason = f"{len(wave)} samples at {self.sample_rate} Hz are too short: {self.min_samples} are needed"
            raise AudioError(entry.audio, reason)
        return LoadedClip(wave, index, entry, start, seed)

    def fingerprint(self) -> str:
        """16 hexadecimal digits over names, spans and lengths of all entries and the way they are cropped."""
        digest = hashlib.sha256(repr((self.sample_rate, self.max_seconds)).encode())
        for entry in self.entries:
            digest.update(repr((entry.audio.name, entry.start, entry.end, entry.duration, entry.split)).encode())
        return digest.hexdigest()[:16]

    def _whole(self, index: int) -> Tensor:
        if (known := self._cache.get(index)) is not None:
            return known
        entry = self.entries[index]
        wave = audio.load(entry.audio, self.sample_rate, start=entry.start, end=entry.end)[:]
        with self._lock:
            if index not in self._cache and len(wave) <= self._room:
                self._cache[index] = wave
                self._room -= len(wave)
        return wave

    def _decode_crop(self, entry: Entry, seed: int) -> tuple[Tensor, int]:
        """A crop of a long recording, by its stated duration: nothing else of it is read."""
        assert self.max_seconds is not None
        length = int(self.max_seconds * self.sample_rate)
        start = draw(seed, int(entry.duration * self.sample_rate) - length)
        begin = (entry.start or 0.0) + start / self.sample_rate
        end = begin + self.max_seconds
        wave = audio.load(entry.audio, self.sample_rate, start=begin, end=min(end, entry.end or end))[:length]
        return wave, start


def draw(seed: int, most: int) -> int:
    """A whole number in 0 ... most (0 where most is negative), from an item's seed: where its crop begins."""
    return mix(seed, 1) % (most + 1) if most > 0 else 0
