"""Augmentation of recordings that keeps their words: speed, mixing with noise or speech, equalizer, low-pass filter.

Legend: S samples.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from zoo.audio import resample
from zoo.errors import ConfigError
from zoo.io.seeds import mix
from zoo.validation import check_range

Range = tuple[float, float]

NOISE_DB = (-5.0, 20.0)  # level of the clip above noise
_STEPS = 20  # speeds are multiples of 1/20, so that the resampling filter stays short
_BAND_HZ = (3000.0, 7000.0)  # range of the cutoff frequency
_WAVES = 4  # half waves of gain from 0 Hz to the highest frequency, on a mel scale
_GAIN_DB = 4.0  # standard deviation of each half wave


def check_speed(max_change: float) -> None:
    """Raises ConfigError for a maximum change above 1/2, or between 0 and the first step of 1/20."""
    check_range("augment.speed", max_change, 0, 0.5)
    if 0 < max_change < 1 / _STEPS:
        raise ConfigError(
            f"augment.speed {max_change}: speeds are multiples of {1 / _STEPS}, so this changes nothing; give 0 or at "
            f"least {1 / _STEPS}"
        )


def draw_speed(seed: int, max_change: float) -> Fraction:
    """The speed factor of the clip with this seed: a multiple of 1/20 within 1 +- max_change."""
    steps = int(max_change * _STEPS + 1e-9)
    return Fraction(_STEPS + mix(seed, 3) % (2 * steps + 1) - steps, _STEPS)


def speed_perturb(wave: Tensor, speed: Fraction) -> Tensor:
    """(S,) -> (ceil(S / speed),). Pitch and formants change with the speed, as with another speaker."""
    return resample(wave, 1000 * speed.numerator, 1000 * speed.denominator)


def mix_at_snr(wave: Tensor, other: Tensor, decibels: Range, max_share: float, draws: np.random.Generator) -> Tensor:
    """Mix a segment of `other` into (S,) at a random position: at most max_share of its length, SNR in `decibels`."""
    count = min(int(draws.uniform(0.0, max_share) * len(wave)), len(other))
    source, target = int(draws.integers(len(other) - count + 1)), int(draws.integers(len(wave) - count + 1))
    segment = other[source : source + count]
    level = 10 ** (-draws.uniform(*decibels) / 20)
    loudness = wave.square().mean().sqrt() / segment.square().mean().sqrt().clamp(min=1e-6) if count else 0.0
    out = wave.clone()
    out[target : target + count] += segment * (loudness * level)
    return out


def noise(count: int, draws: np.random.Generator) -> Tensor:
    """(S,) noise with a power spectrum f^a; the exponent a is random between 0 (white) and -2 (brown)."""
    white = torch.from_numpy(draws.standard_normal(count, dtype=np.float32))
    spectrum = _spectrum(white)
    frequencies = torch.linspace(0, 1, len(spectrum)).clamp(min=0.005)
    return torch.fft.irfft(spectrum * frequencies ** -draws.uniform(0.0, 1.0))[:count]


def random_eq(wave: Tensor, seed: int, share: float, sample_rate: int) -> Tensor:
    """(S,) -> (S,): apply a smooth random gain over frequency to this share of the clips.

    The gain at mel m of M is sum over k = 1 ... 4 of a_k cos(pi k m / M), a_k normal with 4 dB of deviation.
    """
    draws = np.random.default_rng(mix(seed, 6))
    if draws.random() >= share:
        return wave
    spectrum = _spectrum(wave)
    mel = torch.linspace(0, sample_rate / 2, len(spectrum)).div(700).add(1).log()  # natural mel
    angles = torch.pi * mel / mel[-1] * torch.arange(1, _WAVES + 1)[:, None]  # (4, frequencies)
    gain = torch.from_numpy(draws.normal(0, _GAIN_DB, _WAVES).astype(np.float32)) @ angles.cos()  # dB
    return torch.fft.irfft(spectrum * 10 ** (gain / 20))[: len(wave)]


def low_pass(wave: Tensor, seed: int, share: float, sample_rate: int) -> Tensor:
    """(S,) -> (S,): remove all frequencies above a random one from this share of the clips."""
    draws = np.random.default_rng(mix(seed, 5))
    if draws.random() >= share:
        return wave
    spectrum = _spectrum(wave)
    end = draws.uniform(*_BAND_HZ) / (sample_rate / 2)  # share of the spectrum
    spectrum[int(end * len(spectrum)) :] = 0
    return torch.fft.irfft(spectrum)[: len(wave)]


def _spectrum(wave: Tensor) -> Tensor:
    """The spectrum of the clip, zero-padded to an even length with a fast FFT. A prime length would be slow."""
    return torch.fft.rfft(wave, 2 * next_fast_len(-(-len(wave) // 2), real=True))
