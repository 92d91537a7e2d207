"""Windows of music as log-mel spectrograms with one text each, made in the loader's threads.

The spectrogram of a whole clip is computed once and kept. A window can start at any of its frames.

Legend: B batch, S samples, T mel frames, N mels, U tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
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
from zoo.data.sources import text_of
from zoo.errors import AudioError, ConfigError
from zoo.io.atomic import replacing_file
from zoo.models.mulan.model import MuLan
from zoo.recipes.mulan.config import MusicConfig
from zoo.recipes.mulan.texts import Texts


@dataclass
class MelItem(LoadedClip):
    """A window. mel (T, N) float16; wave is empty, because the spectrogram replaces it."""

    mel: Tensor


@dataclass(kw_only=True)
class PairBatch(Batch):
    """Windows with their texts: mel (B, T, N) float32, mel_lengths (B,), ids (B, U), text_lengths (B,).

    waves is (B, 0); lengths (B,) are the lengths of the windows in samples.
    """

    on_device = ("mel", "ids")

    mel: Tensor
    mel_lengths: Tensor
    ids: Tensor
    text_lengths: Tensor


class Spectrograms(AudioDataset):
    """Entries as log-mel windows.

    Values are rounded to float16 whether they are kept or not, so that the cache never changes the training data.
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
        self._frames_left = int(config.cache_hours * 3600 * model.sample_rate / self.logmel.hop)  # that fit into memory
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
        """The spectrogram of the whole clip: (T, N) float16. Raises AudioError for a clip that is too short."""
        if (cached := self._mels.get(index)) is not None:
            return cached
        mel = self._stored(index) if self._folder else self._transform(self._whole(index), self.entries[index])
        with self._mel_lock:
            if index not in self._mels and len(mel) <= self._frames_left:
                self._mels[index] = mel
                self._frames_left -= len(mel)
        return mel

    def fingerprint(self) -> str:
        """The fingerprint of AudioDataset, also over captions and labels."""
        digest = hashlib.sha256(f"{super().fingerprint()} {self.logmel.mels}".encode())
        for entry in self.entries:
            digest.update(repr((entry.captions, entry.text, sorted(entry.labels.items()))).encode())
        return digest.hexdigest()[:16]

    def _stored(self, index: int) -> Tensor:
        """The spectrogram from the folder, computed and stored there first if necessary.

        The file name depends on size and time of the audio file, so that a changed file gets a new spectrogram.
        """
        assert self._folder is not None
        entry, front = self.entries[index], self.logmel
        try:
            version = (entry.audio.stat().st_size, entry.audio.stat().st_mtime_ns)
        except OSError as error:
            raise AudioError(entry.audio, str(error)) from error
        key = (
            str(entry.audio),
            version,
            entry.start,
            entry.end,
            self.sample_rate,
            front.mels,
            front.window,
            front.hop,
        )
        path = self._folder / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.npy"
        # A file that is missing, incomplete or of another kind is written again.
        with suppress(OSError, ValueError, EOFError):
            stored = np.load(path, allow_pickle=False)
            if stored.dtype == np.float16 and stored.shape[1:] == (front.mels,):
                return torch.from_numpy(stored)
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


class MulanCollate:
    """Items -> PairBatch. drawn: draw a random text for each clip; otherwise take its first text."""

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
    """Batches of one split; for "train" shuffled and with random texts. Raises ConfigError for fewer than 2 clips."""
    chosen = [entry for entry in entries if entry.split == split]
    if len(chosen) < 2:
        raise ConfigError(
            f"{text_of(config.sources)}: split {split!r} has {len(chosen)} clips with text; at least 2 are needed"
        )
    dataset = Spectrograms(chosen, model, config)
    training = split == "train"
    sampler = BatchSampler(
        dataset.seconds,
        config.batch_seconds,
        seed=seed,
        max_items=config.max_items,
        shuffle=training,
        even=training,  # a small last batch would be too easy, and would weigh as much as a full one
    )
    return Loader(dataset, sampler, collate=MulanCollate(model, texts, drawn=training), workers=config.workers)
