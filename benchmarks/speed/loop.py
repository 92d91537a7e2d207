"""Overhead of the training loop: `zoo.train.fit` compared with a bare PyTorch loop on the same batches.

    python benchmarks/speed/loop.py

The model has only two small layers, so most of the time is the loop: data, normalization, reports, checkpoints. Runs of
both loops alternate. Prints microseconds for each step and their difference. Run it on an idle machine.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import nn

from zoo.data.dataset import AudioDataset, Batch
from zoo.data.loader import Loader
from zoo.data.manifest import Entry
from zoo.data.sampler import BatchSampler, Cursor
from zoo.train import Output, TrainConfig, TrainingTask, fit

STEPS, RUNS, RATE = 1000, 5, 16_000


class Small(TrainingTask):
    """Reconstructs windows of 320 samples through 16 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(320, 16), nn.Linear(16, 320))

    def forward(self, batch: Batch) -> Output:
        frames = batch.waves.unfold(1, 320, 320)  # (B, T, 320)
        error = (self.net(frames) - frames).square()
        return Output(error.sum(), error.numel(), {"rms": (error.detach().sum(), error.numel())})

    def export(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)


def loader(folder: Path) -> Loader:
    """64 clips of a second, 4 in a batch."""
    entries = []
    for i in range(64):
        path = folder / f"{i}.wav"
        soundfile.write(path, np.random.default_rng(i).normal(0, 0.1, RATE), RATE)
        entries.append(Entry(path, 1.0, "train"))
    dataset = AudioDataset(entries, RATE, cache_hours=1)
    for i in range(64):
        dataset.item(i, 0)
    return Loader(dataset, BatchSampler(dataset.seconds, 4.0))


def bare(batches: list[Batch]) -> float:
    """Seconds for each step of a minimal loop with the same computation."""
    task = Small()
    optimizer = torch.optim.AdamW(task.parameters(), fused=True)
    began = time.perf_counter()
    for batch in batches:
        output = task(batch)
        (output.loss / output.count).backward()
        nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return (time.perf_counter() - began) / len(batches)


def whole(data: Loader, folder: Path) -> float:
    """Seconds for each step of `fit`, from its reports without the first, which includes imports."""
    config = TrainConfig(steps=STEPS, log_every=50, save_every=STEPS)
    with tempfile.TemporaryDirectory(dir=folder) as run:
        fit(Small(), data, None, config, run)
        lines = (Path(run) / "metrics.jsonl").read_text().splitlines()
    rates = [float(line.split('"steps_per_second": ')[1].split(",")[0]) for line in lines[1:]]
    return statistics.mean(1 / rate for rate in rates)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = loader(Path(folder))
        batches = [batch for step in islice(data.steps(Cursor(), 1), STEPS) for batch in step.batches]
        times = [(bare(batches), whole(data, Path(folder))) for _ in range(RUNS)]
    for name, values in zip(("bare", "fit"), zip(*times, strict=True), strict=True):
        spread = f"{min(values) * 1e6:.0f} to {max(values) * 1e6:.0f}"
        print(f"{name:<10} {statistics.median(values) * 1e6:6.0f} us a step ({spread})")
    overhead = [b - a for a, b in times]
    low, high = min(overhead) * 1e6, max(overhead) * 1e6
    print(f"difference {statistics.median(overhead) * 1e6:6.0f} us a step ({low:.0f} to {high:.0f})")


if __name__ == "__main__":
    main()
