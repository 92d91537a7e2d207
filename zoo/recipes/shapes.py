"""Batches of few shapes.

oneDNN compiles its kernels for each shape that it meets: a sixth of the time of training on CPUs where lengths are as
they come. On a GPU there is nothing to compile, and products want multiples of eight.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.data.dataset import Batch
from zoo.encoder import Encoder


def round_up(count: int, device: torch.device) -> int:
    """On a CPU to an eighth of the power of two below, at most an eighth more; elsewhere to a multiple of eight."""
    step = max(1, (1 << count.bit_length()) // 16) if device.type == "cpu" else 8
    return -(-count // step) * step


def lengthen(rows: Tensor) -> Tensor:
    """rows (N, D), and as many of zeros behind them as make their number round."""
    return F.pad(rows, (0, 0, 0, round_up(len(rows), rows.device) - len(rows)))


def widen(batch: Batch, encoder: Encoder) -> int:
    """Lengthen the padding of waves (B, S) until the encoder makes a round number of frames of it; returns that."""
    frames = round_up(encoder.count_frames(batch.waves.shape[1]), encoder.device)
    samples = encoder.min_samples + (frames - 1) * encoder.hop
    batch.waves = F.pad(batch.waves, (0, max(0, samples - batch.waves.shape[1])))
    return frames
