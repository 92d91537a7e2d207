"""Spectrograms cut into windows of one size, for encoders whose frames are windows.

Legend: B batch, T windows of the longest clip, W real windows of all clips, M mel frames, N mels, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.nn.masking import lengths_to_mask, select_frames


def cut_windows(mel: Tensor, lengths: Tensor, counts: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The real windows of all clips in order, with zeros where the spectrogram ends, and their places.

    mel (B, M, N), lengths (B,) real mel frames, counts (B,) windows of each clip, size: mel frames of a window ->
    windows (W, size, N); real mel frames of each (W,); places (B, T), True = real. All but the windows on the CPU.
    """
    clips, longest = len(mel), int(counts.max())
    mel = F.pad(mel[:, : longest * size], (0, 0, 0, max(0, longest * size - mel.shape[1])))
    mel = mel.reshape(clips, longest, size, -1)  # (B, T, size, N)
    start = torch.arange(longest) * size
    remaining = (lengths[:, None] - start).clamp(0, size)  # (B, T)
    places = lengths_to_mask(counts, longest)  # (B, T)
    return select_frames(mel, places), remaining[places], places


def put_back(x: Tensor, places: Tensor) -> Tensor:
    """Vectors x (W, D) of the windows of `cut_windows`, at their places -> (B, T, D), zero in padding."""
    index = places.flatten().nonzero()[:, 0].to(x.device, non_blocking=True)  # (W,)
    out = x.new_zeros(places.numel(), x.shape[1]).index_copy(0, index, x)
    return out.unflatten(0, tuple(places.shape))
