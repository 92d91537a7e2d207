"""Spectrograms or waveforms cut into windows of one size, for encoders whose frames are windows.

Legend: B batch, T windows of the longest clip, W real windows of all clips, M mel frames or samples, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.nn.masking import index_of, lengths_to_mask, select_frames


def cut_windows(x: Tensor, lengths: Tensor, counts: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The real windows of all clips in order, with zeros where x ends, and their places.

    x (B, M, ...), lengths (B,) real mel frames or samples, counts (B,) windows of each clip, size: of a window ->
    windows (W, size, ...); how much of each is real (W,); places (B, T), True = real. All but the windows on the CPU.
    """
    longest = int(counts.max())
    missing = max(0, longest * size - x.shape[1])
    x = F.pad(x[:, : longest * size], (0, 0) * (x.ndim - 2) + (0, missing)).unflatten(1, (longest, size))
    start = torch.arange(longest) * size
    remaining = (lengths[:, None] - start).clamp(0, size)  # (B, T)
    places = lengths_to_mask(counts, longest)  # (B, T)
    return select_frames(x, places), remaining[places], places


def put_back(x: Tensor, places: Tensor) -> Tensor:
    """Vectors x (W, D) of the windows of `cut_windows`, at their places -> (B, T, D), zero in padding."""
    out = x.new_zeros(places.numel(), x.shape[1]).index_copy(0, index_of(places, x.device), x)
    return out.unflatten(0, tuple(places.shape))
