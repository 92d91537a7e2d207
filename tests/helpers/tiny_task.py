"""A task that learns in milliseconds on small noise files."""

from __future__ import annotations

from pathlib import Path

import soundfile
import torch
from small import noise
from torch import nn

from zoo.data.dataset import AudioDataset, Batch
from zoo.data.loader import Loader
from zoo.data.manifest import Entry
from zoo.data.sampler import BatchSampler
from zoo.train import Output, TrainingTask

RATE, WINDOW = 1000, 50


class Tiny(TrainingTask):
    """Predicts the energy of the next window of 50 samples, with dropout."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(WINDOW, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 1))

    def forward(self, batch: Batch) -> Output:
        frames = batch.waves.unfold(1, WINDOW, WINDOW)  # (B, T, 50)
        counts = batch.lengths // WINDOW - 1  # (B,)
        target = frames[:, 1:].square().mean(-1)  # (B, T - 1)
        error = (self.net(frames[:, :-1])[..., 0].float() - target).square()
        real = torch.arange(error.shape[1]) < counts[:, None]
        count = counts.sum()
        hits = ((error < 0.01) & real).sum()
        return Output(torch.where(real, error, 0.0).sum(), count, {"close": (hits, count)})

    def export(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        torch.save(self.state_dict(), directory / "weights.pt")


def write_corpus(folder: Path, count: int = 24) -> list[Entry]:
    """Noise of 0.4 to 1.5 s."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for i in range(count):
        seconds = 0.4 + 1.1 * (i * 7 % count) / count
        path = folder / f"{i:02d}.wav"
        soundfile.write(path, noise(seconds, seed=i, sample_rate=RATE).numpy(), RATE, subtype="FLOAT")
        entries.append(Entry(path, round(seconds * RATE) / RATE, "train"))
    return entries


def loader(entries: list[Entry], *, batch_seconds: float = 4.0, seed: int = 0, shuffle: bool = True) -> Loader:
    dataset = AudioDataset(entries, RATE, max_seconds=1.0, min_samples=2 * WINDOW, cache_hours=1.0)
    return Loader(dataset, BatchSampler(dataset.seconds, batch_seconds, seed=seed, shuffle=shuffle))


def read_corpus(folder: Path) -> list[Entry]:
    """The entries that `write_corpus` wrote to `folder`."""
    paths = sorted(folder.glob("*.wav"))
    return [Entry(path, soundfile.info(path).frames / RATE, "train") for path in paths]
