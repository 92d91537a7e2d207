"""Spectral front ends. Framing is never padded: frame t covers the samples [t * hop, t * hop + window). Whisper's alone
centers frame t on sample t * hop.

Legend: B batch, S samples, T frames, N mels or coefficients, Q frequency bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Protocol

import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor, nn
from torchaudio.compliance import kaldi

from zoo.errors import ConfigError


class Samples(Protocol):
    """One clip: a 1-D tensor or a spooled recording, read by slices."""

    def __len__(self) -> int: ...
    def __getitem__(self, span: slice, /) -> Tensor: ...


@lru_cache(maxsize=16)
def mel_filters(fft: int, sample_rate: int, mels: int, device: torch.device) -> Tensor:
    """Triangular filters on the HTK mel scale from 0 to half the sample rate: (Q, N) float32."""
    filters = torchaudio.functional.melscale_fbanks(fft // 2 + 1, 0.0, sample_rate / 2, mels, sample_rate)
    return filters.to(device)


class LogMel(nn.Module):
    """log(max(mel power, 1e-7)) from 25 ms Hann windows every 10 ms. Float32 whatever type the model is cast to, and
    under autocast.

    The floor lies far below quiet speech for waveforms in [-1, 1]; it keeps digital silence finite. The FFT is as long
    as it must be for the narrowest triangle to hold a bin: 512 at 16 kHz, 1024 from 115 mels on.
    """

    floor = 1e-7

    def __init__(self, sample_rate: int, mels: int, *, window_ms: float = 25.0, hop_ms: float = 10.0) -> None:
        super().__init__()
        if sample_rate < 1000 or mels < 1:
            raise ConfigError(f"sample_rate {sample_rate}, mels {mels}: at least 1000 Hz and one band are needed")
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
        spectrum = torch.fft.rfft(frames, self.fft)
        power = spectrum.real.square() + spectrum.imag.square()  # (B, T, Q); half the time of abs().square()
        filters = mel_filters(self.fft, self.sample_rate, self.mels, waves.device)
        with torch.autocast(waves.device.type, enabled=False):
            return (power @ filters).clamp(min=self.floor).log()


@lru_cache(maxsize=4)
def slaney_filters(fft: int, sample_rate: int, mels: int, device: torch.device) -> Tensor:
    """Triangular filters of equal area on Slaney's mel scale from 0 to half the sample rate: (Q, N) float32."""
    filters = torchaudio.functional.melscale_fbanks(
        fft // 2 + 1, 0.0, sample_rate / 2, mels, sample_rate, norm="slaney", mel_scale="slaney"
    )
    return filters.to(device)


class WhisperMel(nn.Module):
    """The log-mel of Whisper (Radford et al. 2022, section 2.2; openai/whisper audio.py), for one clip at a time.

    Frames are centered: the clip is mirrored at its start and followed by silence. Float32 whatever the model's type.
    """

    floor = 1e-10  # of the mel power: -10 after the logarithm, which is what silence gives
    depth = 8.0  # powers of ten below the loudest value that are kept
    block = 6_000  # frames of a long recording in one go

    def __init__(self, mels: int, sample_rate: int = 16_000) -> None:
        super().__init__()
        self.mels, self.sample_rate = mels, sample_rate
        self.window, self.hop = 400, 160

    def frames_of(self, samples: int) -> int:
        """How many frames see a sample of a clip; those after it are silent."""
        return -(-(samples + self.window // 2) // self.hop)

    def log_power(self, wave: Tensor, *, end: int) -> Tensor:
        """wave (S,), S <= end -> log10 mel power (T, N) of the frames that see it.

        end: samples at which the clip is over for good, and mirrored: 30 s for a window of Whisper.
        """
        half = self.window // 2
        count = min(self.frames_of(len(wave)), end // self.hop)
        if (count - 1) * self.hop + half > end:
            padded = F.pad(F.pad(wave, (0, end - len(wave)))[None], (half, half), mode="reflect")[0]
            return self._log_power(padded, count)
        return next(self.blocks(wave))

    def blocks(self, clip: Samples) -> Iterator[Tensor]:
        """Log power (T_i, N) of a recording of any length, stretch after stretch, of all frames that see it."""
        half, count = self.window // 2, self.frames_of(len(clip))
        for first in range(0, count, self.block):
            last = min(first + self.block, count)
            start, stop = first * self.hop - half, (last - 1) * self.hop + half
            wave = clip[max(0, start) : min(stop, len(clip))]
            wave = F.pad(wave, (0, stop - len(clip))) if stop > len(clip) else wave
            if start < 0:
                wave = F.pad(wave, (0, max(0, half + 1 - len(wave))))  # mirrored silence, if it is that short
                wave = torch.cat([wave[1 : half + 1].flip(0), wave])
            yield self._log_power(wave, last - first)

    def _log_power(self, padded: Tensor, count: int) -> Tensor:
        taper = torch.hann_window(self.window, device=padded.device)
        frames = padded.float().unfold(0, self.window, self.hop)[:count] * taper  # (T, window)
        spectrum = torch.view_as_real(torch.fft.rfft(frames))  # (T, Q, 2)
        power = spectrum.square().sum(-1)  # (T, Q)
        filters = slaney_filters(self.window, self.sample_rate, self.mels, padded.device)
        with torch.autocast(padded.device.type, enabled=False):
            return (power @ filters).clamp(min=self.floor).log10()  # (T, N)

    def compress(self, x: Tensor, peak: Tensor) -> Tensor:
        """Log power x within `depth` of the clip's `peak` (a scalar), shifted and scaled to about [-1, 1]."""
        return (torch.maximum(x, peak - self.depth) + 4) / 4


def mfcc(clips: Sequence[Tensor], sample_rate: int, coefficients: int = 13) -> list[Tensor]:
    """Kaldi MFCC of each clip with first and second differences, as HuBERT's first targets: (S,) -> (T, 3 N).

    10 ms a frame, no dither, no energy term (fairseq examples/hubert/simple_kmeans/dump_mfcc_feature.py). Differences
    at the ends of a clip repeat its first and last frame.
    """
    # All clips in one call, which builds its filters each time anew: each begins on a frame of the row of them all.
    hop, window = sample_rate // 100, sample_rate // 40
    starts = [0]
    for clip in clips:
        starts.append(starts[-1] + -(-len(clip) // hop))
    row = clips[0].new_zeros(starts[-1] * hop + window)
    for clip, start in zip(clips, starts, strict=False):
        row[start * hop : start * hop + len(clip)] = clip
    frames = kaldi.mfcc(row[None], sample_frequency=sample_rate, use_energy=False, num_ceps=coefficients)  # (T, N)
    own = [frames[start : start + (len(c) - window) // hop + 1] for c, start in zip(clips, starts, strict=False)]
    return [_with_differences(frames) for frames in own]


def _with_differences(frames: Tensor) -> Tensor:
    """(T, N) -> (T, 3 N)."""
    first = torchaudio.functional.compute_deltas(frames.T)  # (N, T)
    second = torchaudio.functional.compute_deltas(first)
    return torch.cat([frames, first.T, second.T], dim=1)
