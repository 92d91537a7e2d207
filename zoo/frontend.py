"""Spectral front ends. Framing is never padded: frame t covers the samples [t * hop, t * hop + window).

Legend: B batch, S samples, T frames, N mels or coefficients, Q frequency bins.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torchaudio
from torch import Tensor, nn
from torchaudio.compliance import kaldi


@lru_cache(maxsize=16)
def mel_filters(fft: int, sample_rate: int, mels: int, device: torch.device) -> Tensor:
    """Triangular filters on the HTK mel scale from 0 to half the sample rate: (Q, N) float32."""
    filters = torchaudio.functional.melscale_fbanks(fft // 2 + 1, 0.0, sample_rate / 2, mels, sample_rate)
    return filters.to(device)


class LogMel(nn.Module):
    """log(max(mel power, 1e-7)) from 25 ms Hann windows every 10 ms. Float32 whatever type the model is cast to.

    The floor lies far below quiet speech for waveforms in [-1, 1]; it keeps digital silence finite. The FFT is as long
    as it must be for the narrowest triangle to hold a bin: 512 at 16 kHz, 1024 from 115 mels on.
    """

    floor = 1e-7

    def __init__(self, sample_rate: int, mels: int, *, window_ms: float = 25.0, hop_ms: float = 10.0) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.mels = mels
        self.window = round(sample_rate * window_ms / 1000)
        self.hop = round(sample_rate * hop_ms / 1000)
        self.fft = 1 << (self.window - 1).bit_length()
        narrowest = 700 * ((1 + sample_rate / 1400) ** (2 / (mels + 1)) - 1)  # Hz: the lowest triangle, from 0
        while sample_rate / self.fft >= narrowest:
            self.fft *= 2

    def forward(self, waves: Tensor) -> Tensor:
        """waves (B, S) -> (B, T, N), T = (S - window) // hop + 1."""
        taper = torch.hann_window(self.window, device=waves.device)
        frames = waves.float().unfold(1, self.window, self.hop) * taper  # (B, T, window)
        power = torch.fft.rfft(frames, self.fft).abs().square()  # (B, T, Q)
        filters = mel_filters(self.fft, self.sample_rate, self.mels, waves.device)
        return (power @ filters).clamp(min=self.floor).log()


def mfcc(wave: Tensor, sample_rate: int, coefficients: int = 13) -> Tensor:
    """Kaldi MFCC of one clip with first and second differences, as HuBERT's first targets: (S,) -> (T, 3 N).

    10 ms a frame, no dither, no energy term (fairseq examples/hubert/simple_kmeans/dump_mfcc_feature.py). Differences
    at the ends of the clip repeat its first and last frame.
    """
    frames = kaldi.mfcc(wave[None], sample_frequency=sample_rate, use_energy=False, num_ceps=coefficients)  # (T, N)
    first = torchaudio.functional.compute_deltas(frames.T)  # (N, T)
    second = torchaudio.functional.compute_deltas(first)
    return torch.cat([frames, first.T, second.T], dim=1)
