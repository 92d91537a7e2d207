"""Entries as waveforms at the model's rate: whole, or a random crop that depends only on the seed of the item.

Legend: B batch, S samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from threading import Lock
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from zoo import audio
from zoo.data.manifest import Entry
from zoo.errors import AudioError
from zoo.io.seeds import mix
from zoo.nn.transfer import to_device

LONG = 60.0  # s; for longer recordings only the crop is decoded, and they are not cached

B = TypeVar("B", bound="Batch")


@dataclass
class LoadedClip:
    """One waveform. wave (S,) float32; index: of the entry; start: first sample of the crop within the entry;
    seed: for all random choices.
    """

    wave: Tensor
    index: int
    entry: Entry
    start: int
    seed: int


@dataclass(kw_only=True)
class Batch:
    """Padded waveforms with their entries.

    A recipe that needs more fields derives a dataclass: `Mine(**vars(Batch.of(items)), tokens=...)`. `to` moves the
    fields in `on_device`; lengths and other numbers that decide shapes stay on the CPU, so that nobody waits for a GPU.

    waves (B, S) float32, zero after the end of each clip; lengths (B,) samples;
    indices (B,) of the entries in the data set; starts (B,) first sample of the crop at the model's rate;
    seeds (B,) int64: a function of only (seed, epoch, index), for masks that do not depend on the rest of the batch or
    on the number of processes; seed: one seed for the whole batch (dropout).
    """

    on_device: ClassVar[tuple[str, ...]] = ("waves",)

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
        """The batch with the fields in `on_device` on `device`."""
        if device.type == "cpu":
            return self
        moved: dict[str, Any] = {name: to_device(getattr(self, name), device) for name in self.on_device}
        return replace(self, **moved)

    def only(self: B, index: int) -> B:
        """The batch with only the item at `index`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        rows: dict[str, Any] = {
            name: v[index : index + 1] for name, v in values.items() if isinstance(v, Tensor | list)
        }
        return replace(self, **rows)


class AudioDataset:
    """Entries at one sample rate.

    max_seconds: longer items are cropped to this length at a random position; None keeps them whole.
    min_samples: shorter items raise AudioError.
    cache_hours: decoded audio to keep in memory (230 MB per hour at 16 kHz).
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
        self._free_samples = int(cache_hours * 3600 * sample_rate)
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
        """16 hexadecimal digits of a hash over names, spans and lengths of all entries and the crop settings."""
        digest = hashlib.sha256(repr((self.sample_rate, self.max_seconds)).encode())
        for entry in self.entries:
            digest.update(repr((entry.audio.name, entry.start, entry.end, entry.duration, entry.split)).encode())
        return digest.hexdigest()[:16]

    def _whole(self, index: int) -> Tensor:
        if (cached := self._cache.get(index)) is not None:
            return cached
        entry = self.entries[index]
        wave = audio.load(entry.audio, self.sample_rate, start=entry.start, end=entry.end)[:]
        with self._lock:
            if index not in self._cache and len(wave) <= self._free_samples:
                self._cache[index] = wave
                self._free_samples -= len(wave)
        return wave

    def _decode_crop(self, entry: Entry, seed: int) -> tuple[Tensor, int]:
        """A crop of a long recording, chosen by its stated duration; only the crop is read."""
        assert self.max_seconds is not None
        length = int(self.max_seconds * self.sample_rate)
        start = draw(seed, int(entry.duration * self.sample_rate) - length)
        begin = (entry.start or 0.0) + start / self.sample_rate
        end = begin + self.max_seconds
        wave = audio.load(entry.audio, self.sample_rate, start=begin, end=min(end, entry.end or end))[:length]
        return wave, start


def draw(seed: int, high: int) -> int:
    """A pseudo-random integer in 0 ... high (0 if high is negative) from the seed of an item: the start of its crop."""
    return mix(seed, 1) % (high + 1) if high > 0 else 0
