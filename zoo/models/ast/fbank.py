"""Kaldi's log-mel filter bank, in batches and with gradients.

Legend: B batch, S samples, T frames, N mels, Q frequency bins.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.compliance import kaldi

from zoo.ambient import kept

LOWEST = 20.0  # Hz
PREEMPHASIS = 0.97


@kept
def kaldi_filters(fft: int, sample_rate: int, mels: int, device: torch.device) -> Tensor:
    """Triangular filters on Kaldi's mel scale from 20 Hz to half the sample rate: (Q, N) float32."""
    filters, _ = kaldi.get_mel_banks(mels, fft, float(sample_rate), LOWEST, 0.0, 100.0, -500.0, 1.0)  # (N, Q - 1)
    return F.pad(filters, (0, 1)).T.to(device)


class KaldiFbank(nn.Module):
    """torchaudio's kaldi.fbank with a Hann window, without dither: 25 ms every 10 ms, no padding.

    From each frame its mean is subtracted, then it is pre-emphasized. Always computed in float32.
    """

    def __init__(self, sample_rate: int, mels: int) -> None:
        super().__init__()
        self.sample_rate, self.mels = sample_rate, mels
        self.window, self.hop = sample_rate // 40, sample_rate // 100
        self.fft = 1 << (self.window - 1).bit_length()

    def forward(self, waves: Tensor) -> Tensor:
        """waves (B, S) -> (B, T, N), T = (S - window) // hop + 1."""
        frames = waves.float().unfold(1, self.window, self.hop)  # (B, T, window)
        frames = frames - frames.mean(2, keepdim=True)
        before = F.pad(frames, (1, 0), mode="replicate")[..., :-1]
        taper = torch.hann_window(self.window, periodic=False, dtype=torch.float32, device=waves.device)
        spectrum = torch.fft.rfft((frames - PREEMPHASIS * before) * taper, self.fft)
        power = spectrum.real.square() + spectrum.imag.square()  # (B, T, Q)
        filters = kaldi_filters(self.fft, self.sample_rate, self.mels, waves.device)
        with torch.autocast(waves.device.type, enabled=False):
            return (power @ filters).clamp(min=torch.finfo(torch.float32).eps).log()
