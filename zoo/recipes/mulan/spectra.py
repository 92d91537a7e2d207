"""Windows of music as log-mel spectrograms with a text each, made in the loader's threads.

A spectrogram is computed once for the whole clip and kept; windows begin at any of its frames.

Legend: B batch, S samples, T mel frames, N mels, U tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zoo.data.dataset import LONG, AudioDataset, Batch, LoadedClip, draw
from zoo.data.loader import Loader
from zoo.data.manifest import Entry
from zoo.data.sampler import BatchSampler
from zoo.errors import AudioError, ConfigError, MissingDependencyError
from zoo.io.atomic import replacing_file
from zoo.models.mulan.model import MuLan
from zoo.recipes.mulan.config import MusicConfig
from zoo.recipes.mulan.texts import Texts


@dataclass
class MelItem(LoadedClip):
    """A window. mel (T, N) float16; wave is empty: the spectrogram stands in for it."""

    mel: Tensor


@dataclass(kw_only=True)
class PairBatch(Batch):
    """Windows with their texts: mel (B, T, N) float32, mel_lengths (B,), ids (B, U), text_lengths (B,).

    waves is (B, 0); lengths (B,) are the samples that the windows stand for.
    """

    mel: Tensor
    mel_lengths: Tensor
    ids: Tensor
    text_lengths: Tensor


class Spectrograms(AudioDataset):
    """Entries as log-mel windows.

    Values are rounded to float16, kept in memory or not, so that what is trained on never depends on what was kept.
    """

    def __init__(self, entries: Sequence[Entry], model: MuLan, config: MusicConfig) -> None:
        window = config.max_seconds or model.config.window_seconds
        self.logmel = model.logmel
        self.frames = min(model.mel_frames, int(window * model.sample_rate) // self.logmel.hop)  # T of a window
        super().__init__(
            entries,
            model.sample_rate,
            max_seconds=((self.frames - 1) * self.logmel.hop + self.logmel.window) / model.sample_rate,
            min_samples=model.min_samples,
        )
        self._folder = Path(config.spectra).expanduser() if config.spectra else None
        self._mel_room = int(config.cache_hours * 3600 * model.sample_rate / self.logmel.hop)  # frames
        self._mels: dict[int, Tensor] = {}
        self._mel_lock = Lock()

    def item(self, index: int, seed: int) -> MelItem:
        entry = self.entries[index]
        if self.max_seconds is not None and entry.duration > max(LONG, self.max_seconds):
            wave, start = self._decode_crop(entry, seed)
            mel = self._transform(wave, entry)[: self.frames]
        else:
            whole = self.spectrogram(index)
            first = draw(seed, len(whole) - self.frames)
            mel, start = whole[first : first + self.frames], first * self.logmel.hop
        return MelItem(torch.empty(0), index, entry, start, seed, mel)

    def spectrogram(self, index: int) -> Tensor:
        """Of the whole clip: (T, N) float16. Raises AudioError for a clip that is too short."""
        if (known := self._mels.get(index)) is not None:
            return known
        mel = self._stored(index) if self._folder else self._transform(self._whole(index), self.entries[index])
        with self._mel_lock:
            if index not in self._mels and len(mel) <= self._mel_room:
                self._mels[index] = mel
                self._mel_room -= len(mel)
        return mel

    def readable(self, most: int | None = None) -> Spectrograms:
        """The same without the clips that cannot be used, and at most so many, evenly chosen; self, if it is all."""
        good = []
        for index in range(0, len(self), stride(len(self), most)):
            with suppress(AudioError, MissingDependencyError):
                self.spectrogram(index)
                good.append(index)
        if len(good) == len(self):
            return self
        left = copy(self)
        left.entries = [self.entries[index] for index in good]
        left._mels = {new: self._mels[old] for new, old in enumerate(good) if old in self._mels}
        return left

    def fingerprint(self) -> str:
        """Also over captions and labels, which are what is learned."""
        digest = hashlib.sha256(f"{super().fingerprint()} {self.logmel.mels}".encode())
        for entry in self.entries:
            digest.update(repr((entry.captions, entry.text, sorted(entry.labels.items()))).encode())
        return digest.hexdigest()[:16]

    def _stored(self, index: int) -> Tensor:
        """From the folder, or made and put there. A file of another version of the audio is never taken."""
        assert self._folder is not None
        entry, front = self.entries[index], self.logmel
        try:
            version = (entry.audio.stat().st_size, entry.audio.stat().st_mtime_ns)
        except OSError as error:
            raise AudioError(entry.audio, str(error)) from error
        what = (
            str(entry.audio),
            version,
            entry.start,
            entry.end,
            self.sample_rate,
            front.mels,
            front.window,
            front.hop,
        )
        path = self._folder / f"{hashlib.sha256(repr(what).encode()).hexdigest()[:24]}.npy"
        # Not there yet, cut short, or not ours: it is made.
        with suppress(OSError, ValueError, EOFError):
            kept = np.load(path, allow_pickle=False)
            if kept.dtype == np.float16 and kept.shape[1:] == (front.mels,):
                return torch.from_numpy(kept)
        mel = self._transform(self._whole(index), entry)
        with replacing_file(path, shared=True) as partial, partial.open("wb") as file:
            np.save(file, mel.numpy(), allow_pickle=False)
        return mel

    def _transform(self, wave: Tensor, entry: Entry) -> Tensor:
        if len(wave) < self.min_samples:
            reason = f"{len(wave)} samples at {self.sample_rate} Hz are too short: {self.min_samples} are needed"
            raise AudioError(entry.audio, reason)
        with torch.no_grad():
            return self.logmel(wave[None])[0].half()  # (T, N)


def stride(count: int, most: int | None) -> int:
    """The step at which no more than `most` of `count` are met; None = all of them."""
    return 1 if most is None else max(1, -(-count // most))


class MulanCollate:
    """Items -> PairBatch. drawn: a text is drawn for each item, rather than the first one taken."""

    def __init__(self, model: MuLan, texts: Texts, *, drawn: bool) -> None:
        self.model, self.texts, self.drawn = model, texts, drawn

    def __call__(self, items: Sequence[LoadedClip]) -> PairBatch:
        mels = [item.mel for item in items if isinstance(item, MelItem)]
        assert self.model.tokenizer is not None
        chosen = [self.texts.draw(i.entry, i.seed) if self.drawn else self.texts.first(i.entry) for i in items]
        ids, text_lengths = self.model.tokenizer.encode(chosen, self.model.config.text_length)
        plain = vars(Batch.of(items)) | {"lengths": torch.tensor([len(mel) * self.model.logmel.hop for mel in mels])}
        return PairBatch(
            **plain,
            mel=pad_sequence(mels, batch_first=True).float(),  # (B, T, N)
            mel_lengths=torch.tensor([len(mel) for mel in mels]),
            ids=ids,
            text_lengths=text_lengths,
        )


def pair_loader(
    entries: Sequence[Entry], split: str, model: MuLan, texts: Texts, config: MusicConfig, seed: int
) -> Loader:
    """Batches of one split; shuffled, with texts drawn, if it is "train". Raises ConfigError where it is empty."""
    chosen = [entry for entry in entries if entry.split == split]
    if len(chosen) < 2:
        raise ConfigError(f"{config.source}: split {split!r} has {len(chosen)} clips with text; at least 2 are needed")
    dataset = Spectrograms(chosen, model, config)
    training = split == "train"
    sampler = BatchSampler(
        dataset.seconds,
        config.batch_seconds,
        seed=seed,
        max_items=config.max_items,
        shuffle=training,
        even=training,  # a few pairs left over would be easy to tell apart, and as much of a step as a full batch
    )
    return Loader(dataset, sampler, collate=MulanCollate(model, texts, drawn=training), workers=config.workers)
