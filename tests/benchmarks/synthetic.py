"""Features with known targets, and small corpora of tones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from zoo.benchmarks.probe import Split
from zoo.data import manifest
from zoo.data.manifest import Entry

RATE = 16_000


def splits(features: Tensor, targets: np.ndarray, sizes: tuple[int, int, int], groups: int = 40) -> list[Split]:
    """Cut features (L, N, D) into train, dev and test; items fall into `groups` groups of each split."""
    parts, start = [], 0
    for size in sizes:
        span = slice(start, start + size)
        layers = features[:, span]
        names = np.array([f"{start}-{i % groups}" for i in range(size)])
        parts.append(Split(lambda k, layers=layers: layers[k], targets[span], names))
        start += size
    return parts


def tones(folder: Path, count: int = 60, speakers: int = 15, seed: int = 0) -> Path:
    """A manifest of tones: label low or high, speaker by position; the first 60 % train, then dev, then test."""
    rng = np.random.default_rng(seed)
    entries = []
    for i in range(count):
        share = (i * speakers // count) / speakers
        split = "train" if share < 0.6 else "dev" if share < 0.8 else "test"
        high = bool(rng.integers(2))
        time = np.arange(int(RATE * rng.uniform(0.2, 0.4))) / RATE
        wave = 0.3 * np.sin(2 * np.pi * rng.uniform(800, 1200) * (2 if high else 1) * time)
        path = folder / f"{i:03d}.wav"
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave + 0.003 * rng.normal(size=len(wave)), RATE)
        entries.append(
            Entry(
                path,
                len(time) / RATE,
                split,
                text="high tone" if high else "low tone",
                speaker=f"s{i * speakers // count}",
                captions=["a high tone" if high else "a low tone"],
                phones=[(0.0, len(time) / RATE, "H" if high else "L")],
                labels={"pitch": "high" if high else "low", "height": float(high), "one": "same"},
            )
        )
    manifest.write(folder / "manifest.jsonl", entries)
    return folder / "manifest.jsonl"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
