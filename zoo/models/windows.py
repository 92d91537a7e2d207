"""Spectrograms cut into windows of one size, for encoders whose frames are windows.

Legend: B batch, T windows, M mel frames, N mels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cut_windows(mel: Tensor, lengths: Tensor, counts: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The real windows of all clips, with zeros where the spectrogram ends, and their places.

    mel (B, M, N), lengths (B,) real mel frames, counts (B,) windows of each clip, size: mel frames of a window ->
    windows (W, size, N) of all clips in order; real mel frames of each (W,); places (B, T), True = real.
    """
    clips, longest = len(mel), int(counts.max())
    mel = F.pad(mel[:, : longest * size], (0, 0, 0, max(0, longest * size - mel.shape[1])))
    mel = mel.reshape(clips, longest, size, -1)  # (B, T, size, N)
    index = torch.arange(longest, device=mel.device)
    remaining = (lengths[:, None] - index * size).clamp(0, size)  # (B, T)
    places = index < counts[:, None]  # (B, T)
    return mel[places], remaining[places], places
