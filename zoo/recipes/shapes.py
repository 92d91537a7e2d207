"""Round batch shapes up, so that training has few different shapes.

oneDNN compiles its kernels for each new shape. Without rounding this takes a sixth of the training time on a CPU. A GPU
compiles nothing, but matrix products are fastest with multiples of eight.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.data.dataset import Batch
from zoo.encoder import Encoder


def round_up(count: int, device: torch.device) -> int:
    """Round up: to a multiple of 8 or, on a CPU, of 1/8 of the largest power of two <= count (at most 1/8 more)."""
    step = max(1, (1 << count.bit_length()) // 16) if device.type == "cpu" else 8
    return -(-count // step) * step


def lengthen(rows: Tensor) -> Tensor:
    """rows (N, D) -> (round_up(N), D): rows of zeros are appended."""
    return F.pad(rows, (0, 0, 0, round_up(len(rows), rows.device) - len(rows)))


def widen(batch: Batch, encoder: Encoder) -> int:
    """Pad batch.waves (B, S) until the encoder gives round_up(frames) frames; returns that number of frames."""
    frames = round_up(encoder.count_frames(batch.waves.shape[1]), encoder.device)
    samples = encoder.min_samples + (frames - 1) * encoder.hop
    batch.waves = F.pad(batch.waves, (0, max(0, samples - batch.waves.shape[1])))
    return frames
