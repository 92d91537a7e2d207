"""Spectral front ends. They do not pad: frame t covers the samples [t * hop, t * hop + window). Only Whisper's is
different: it centers frame t on sample t * hop.

Legend: B batch, S samples, T frames, N mels or coefficients, Q frequency bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor, nn
from torchaudio.compliance import kaldi

from zoo.ambient import kept
from zoo.errors import ConfigError


class Samples(Protocol):
    """One clip: a 1-D tensor or a spooled recording. Both support len() and slices."""

    def __len__(self) -> int: ...
    def __getitem__(self, span: slice, /) -> Tensor: ...


@kept
def mel_filters(fft: int, sample_rate: int, mels: int, device: torch.device) -> Tensor:
    """Triangular filters on the HTK mel scale from 0 to half the sample rate: (Q, N) float32."""
    filters = torchaudio.functional.melscale_fbanks(fft // 2 + 1, 0.0, sample_rate / 2, mels, sample_rate)
    return filters.to(device)


class LogMel(nn.Module):
    """log(max(mel power, 1e-7)) from 25 ms Hann windows every 10 ms. Always computed in float32, also if the model has
    another dtype, and under autocast.

    For waveforms in [-1, 1] the floor is far below quiet speech; it keeps digital silence finite. The FFT is long
    enough for the narrowest mel filter to contain a bin: 512 at 16 kHz, 1024 for 115 mels and more.
    """

    floor = 1e-7

    def __init__(self, sample_rate: int, mels: int, *, window_ms: float = 25.0, hop_ms: float = 10.0) -> None:
        super().__init__()
        if not (1000 <= sample_rate <= 10_000_000 and 1 <= mels <= 10_000):  # else no FFT is long enough
            raise ConfigError(f"sample_rate {sample_rate}, mels {mels}: give 1000 Hz to 10 MHz, and 1 to 10,000 bands")
        self.sample_rate = sample_rate
        self.mels = mels
        self.window = round(sample_rate * window_ms / 1000)
        self.hop = round(sample_rate * hop_ms / 1000)
        self.fft = 1 << (self.window - 1).bit_length()
        narrowest = 700 * ((1 + sample_rate / 1400) ** (2 / (mels + 1)) - 1)  # Hz: width of the lowest filter, from 0
        while sample_rate / self.fft >= narrowest:
            self.fft *= 2

    def forward(self, waves: Tensor) -> Tensor:
        """waves (B, S) -> (B, T, N), T = (S - window) // hop + 1."""
        taper = torch.hann_window(self.window, dtype=torch.float32, device=waves.device)
        frames = waves.float().unfold(1, self.window, self.hop) * taper  # (B, T, window)
        spectrum = torch.fft.rfft(frames, self.fft)
        power = spectrum.real.square() + spectrum.imag.square()  # (B, T, Q); twice as fast as abs().square()
        filters = mel_filters(self.fft, self.sample_rate, self.mels, waves.device)
        with torch.autocast(waves.device.type, enabled=False):
            return (power @ filters).clamp(min=self.floor).log()


@kept
def slaney_filters(fft: int, sample_rate: int, mels: int, device: torch.device) -> Tensor:
    """Triangular filters of equal area on Slaney's mel scale from 0 to half the sample rate: (Q, N) float32."""
    filters = torchaudio.functional.melscale_fbanks(
        fft // 2 + 1, 0.0, sample_rate / 2, mels, sample_rate, norm="slaney", mel_scale="slaney"
    )
    return filters.to(device)


class WhisperMel(nn.Module):
    """The log-mel of Whisper (Radford et al. 2022, section 2.2; openai/whisper audio.py), for one clip at a time.

    Frames are centered: the start of the clip is padded by reflection, its end by silence. Always in float32.
    """

    floor = 1e-10  # of the mel power; its logarithm, -10, is the value of silence
    depth = 8.0  # dynamic range: values more than this many powers of ten below the peak are raised
    block = 6_000  # frames of a long recording computed at once

    def __init__(self, mels: int, sample_rate: int = 16_000) -> None:
        super().__init__()
        self.mels, self.sample_rate = mels, sample_rate
        self.window, self.hop = 400, 160

    def frames_of(self, samples: int) -> int:
        """Number of frames that contain at least one sample of the clip; later frames are silent."""
        return -(-(samples + self.window // 2) // self.hop)

    def log_power(self, wave: Tensor, *, end: int) -> Tensor:
        """wave (S,), S <= end -> log10 mel power (T, N) of the frames that contain a sample of it.

        end: length in samples of the padded clip, 30 s for a window of Whisper; the end is padded by reflection too.
        """
        half = self.window // 2
        count = min(self.frames_of(len(wave)), end // self.hop)
        if (count - 1) * self.hop + half > end:
            padded = F.pad(F.pad(wave, (0, end - len(wave)))[None], (half, half), mode="reflect")[0]
            return self._log_power(padded, count)
        return next(self.blocks(wave))

    def blocks(self, clip: Samples) -> Iterator[Tensor]:
        """Log power (T_i, N) of a recording of any length, block by block: all frames that contain a sample of it."""
        half, count = self.window // 2, self.frames_of(len(clip))
        for first in range(0, count, self.block):
            last = min(first + self.block, count)
            start, stop = first * self.hop - half, (last - 1) * self.hop + half
            wave = clip[max(0, start) : min(stop, len(clip))]
            wave = F.pad(wave, (0, stop - len(clip))) if stop > len(clip) else wave
            if start < 0:
                wave = F.pad(wave, (0, max(0, half + 1 - len(wave))))  # a short clip is reflected with its silence
                wave = torch.cat([wave[1 : half + 1].flip(0), wave])
            yield self._log_power(wave, last - first)

    def _log_power(self, padded: Tensor, count: int) -> Tensor:
        taper = torch.hann_window(self.window, dtype=torch.float32, device=padded.device)
        frames = padded.float().unfold(0, self.window, self.hop)[:count] * taper  # (T, window)
        spectrum = torch.view_as_real(torch.fft.rfft(frames))  # (T, Q, 2)
        power = spectrum.square().sum(-1)  # (T, Q)
        filters = slaney_filters(self.window, self.sample_rate, self.mels, padded.device)
        with torch.autocast(padded.device.type, enabled=False):
            return (power @ filters).clamp(min=self.floor).log10()  # (T, N)

    def compress(self, x: Tensor, peak: Tensor) -> Tensor:
        """Log power x, limited to `depth` below the `peak` of the clip (a scalar) and scaled to about [-1, 1]."""
        return (torch.maximum(x, peak - self.depth) + 4) / 4


MFCC_MELS = 23  # mel bands under the cepstra, Kaldi's default; there are at most as many cepstra


def mfcc(clips: Sequence[Tensor], sample_rate: int, coefficients: int = 13) -> list[Tensor]:
    """Kaldi MFCC of each clip with first and second differences, the first targets of HuBERT: (S,) -> (T, 3 N).

    10 ms a frame, no dither, no energy term (fairseq examples/hubert/simple_kmeans/dump_mfcc_feature.py). For the
    differences, the first and last frame of a clip are repeated.
    """
    # kaldi.mfcc builds its filters in every call, so all clips go into one: they are concatenated, and each starts at a
    # multiple of the hop.
    hop, window = sample_rate // 100, sample_rate // 40
    starts = [0]
    for clip in clips:
        starts.append(starts[-1] + -(-len(clip) // hop))
    row = clips[0].new_zeros(starts[-1] * hop + window)
    for clip, start in zip(clips, starts, strict=False):
        row[start * hop : start * hop + len(clip)] = clip
    frames = kaldi.mfcc(
        row[None], sample_frequency=sample_rate, use_energy=False, num_mel_bins=MFCC_MELS, num_ceps=coefficients
    )  # (T, N)
    by_clip = [frames[start : start + (len(c) - window) // hop + 1] for c, start in zip(clips, starts, strict=False)]
    return [_with_differences(frames) for frames in by_clip]


def _with_differences(frames: Tensor) -> Tensor:
    """(T, N) -> (T, 3 N)."""
    first = torchaudio.functional.compute_deltas(frames.T)  # (N, T)
    second = torchaudio.functional.compute_deltas(first)
    return torch.cat([frames, first.T, second.T], dim=1)
