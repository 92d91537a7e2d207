"""Small recordings for the extraction tests, written when a test runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile


def write_wav(path: Path, seconds: float, seed: int = 0, rate: int = 16000) -> Path:
    """Noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate))
    soundfile.write(path, noise, rate)
    return path


def write_corpus(folder: Path) -> Path:
    """Ten clips of 0.3 to 1.2 s in two folders and at two rates: a/0.wav ... a/5.wav, b/6.wav ... b/9.wav."""
    for i in range(10):
        path = folder / ("a" if i < 6 else "b") / f"{i}.wav"
        write_wav(path, 0.3 + (i * 7 % 10) / 10, seed=i, rate=16000 if i % 3 else 22050)
    return folder
