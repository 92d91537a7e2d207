"""Training batches of random audio, spectra and texts, for benchmarks of training steps.

Legend: B clips or windows, T frames, U tokens.
"""

from __future__ import annotations

from pathlib import Path

import torch

from zoo.data.manifest import Entry
from zoo.models.whisper.model import Whisper
from zoo.recipes.hubert.config import MaskConfig
from zoo.recipes.hubert.masking import span_mask
from zoo.recipes.hubert.task import UnitBatch
from zoo.recipes.whisper.data import IGNORED, SpeechBatch

UNITS = 500
RATE = 16_000
CONTEXT = 4  # tokens without a loss: start, language, task, no timestamps


def unit_batch(clips: int, seconds: float, *, frames: int | None = None, mask: MaskConfig | None = None) -> UnitBatch:
    """Clips of equal length. frames: T of each clip, None = those of HuBERT Base."""
    frames = int(seconds * RATE - 400) // 320 + 1 if frames is None else frames
    mask = mask or MaskConfig()
    waves = torch.randn(clips, int(seconds * RATE)) * 0.1
    return UnitBatch(
        waves=waves,
        lengths=torch.full((clips,), waves.shape[1]),
        indices=torch.arange(clips),
        starts=torch.zeros(clips, dtype=torch.int64),
        seeds=torch.arange(clips),
        entries=[Entry(Path(f"{i}.wav"), seconds, "train") for i in range(clips)],
        targets=torch.randint(0, UNITS, (clips, frames, 1)),
        masked=torch.stack([span_mask(frames, i, mask) for i in range(clips)]),
    )


def speech_batch(model: Whisper, windows: int, tokens: int, positions: int) -> SpeechBatch:
    """Random spectra of `positions` each, and texts of `tokens`."""
    ids = torch.randint(0, model.config.vocab_size, (windows, tokens + 1))
    targets = ids[:, 1:].clone()
    targets[:, : CONTEXT - 1] = IGNORED
    return SpeechBatch(
        waves=torch.zeros(windows, 1),
        lengths=torch.full((windows,), positions * 320),
        indices=torch.arange(windows),
        starts=torch.zeros(windows, dtype=torch.int64),
        seeds=torch.arange(windows),
        entries=[Entry(Path(f"{i}.wav"), positions / 50, "train") for i in range(windows)],
        mel=torch.randn(windows, 2 * positions, model.config.mels) * 0.5,
        positions=torch.full((windows,), positions),
        tokens=ids[:, :-1],
        targets=targets,
    )
