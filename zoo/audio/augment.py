"""Changes to a recording that leave what is said in it: another speed, noise or speech over it, another microphone, a
narrow band.

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
_STEPS = 20  # speeds are whole twentieths: the filter that resamples stays short
_BAND_HZ = (3000.0, 7000.0)  # where a cut band ends
_WAVES = 4  # half waves of gain from 0 Hz to the highest frequency, on a mel scale
_GAIN_DB = 4.0  # standard deviation of each


def check_speed(most: float) -> None:
    """Raises ConfigError for what cannot be meant: more than half, or less than the first step."""
    check_range("augment.speed", most, 0, 0.5)
    if 0 < most < 1 / _STEPS:
        raise ConfigError(f"augment.speed {most}: speeds are twentieths, so less than {1 / _STEPS} changes nothing")


def draw_speed(seed: int, most: float) -> Fraction:
    """How many times as fast the clip of this seed is played: a whole number of twentieths within 1 +- most."""
    steps = int(most * _STEPS + 1e-9)
    return Fraction(_STEPS + mix(seed, 3) % (2 * steps + 1) - steps, _STEPS)


def speed_perturb(wave: Tensor, speed: Fraction) -> Tensor:
    """(S,) -> (ceil(S / speed),), its pitch and formants moved with it: another speaker, the same words."""
    return resample(wave, 1000 * speed.numerator, 1000 * speed.denominator)


def mix_at_snr(wave: Tensor, other: Tensor, decibels: Range, most: float, draws: np.random.Generator) -> Tensor:
    """A stretch of `other`, no longer than `most` of the clip, at a random place and level over the clip."""
    count = min(int(draws.uniform(0.0, most) * len(wave)), len(other))
    source, place = int(draws.integers(len(other) - count + 1)), int(draws.integers(len(wave) - count + 1))
    stretch = other[source : source + count]
    level = 10 ** (-draws.uniform(*decibels) / 20)
    loudness = wave.square().mean().sqrt() / stretch.square().mean().sqrt().clamp(min=1e-6) if count else 0.0
    out = wave.clone()
    out[place : place + count] += stretch * (loudness * level)
    return out


def noise(count: int, draws: np.random.Generator) -> Tensor:
    """(S,) noise whose power falls as frequency to a power between 0 (white) and -2 (brown)."""
    white = torch.from_numpy(draws.standard_normal(count, dtype=np.float32))
    spectrum = _spectrum(white)
    frequencies = torch.linspace(0, 1, len(spectrum)).clamp(min=0.005)
    return torch.fft.irfft(spectrum * frequencies ** -draws.uniform(0.0, 1.0))[:count]


def random_eq(wave: Tensor, seed: int, share: float, sample_rate: int) -> Tensor:
    """(S,) -> (S,): of the clips, this share has its frequencies weakened and strengthened by a smooth random curve.

    The gain at mel m of M is sum over k = 1 ... 4 of a_k cos(pi k m / M), a_k normal with 4 dB of deviation.
    """
    draws = np.random.default_rng(mix(seed, 6))
    if draws.random() >= share:
        return wave
    spectrum = _spectrum(wave)
    place = torch.linspace(0, sample_rate / 2, len(spectrum)).div(700).add(1).log()  # natural mel
    angles = torch.pi * place / place[-1] * torch.arange(1, _WAVES + 1)[:, None]  # (4, frequencies)
    gain = torch.from_numpy(draws.normal(0, _GAIN_DB, _WAVES).astype(np.float32)) @ angles.cos()  # dB
    return torch.fft.irfft(spectrum * 10 ** (gain / 20))[: len(wave)]


def low_pass(wave: Tensor, seed: int, share: float, sample_rate: int) -> Tensor:
    """(S,) -> (S,): of the clips, this share loses all above a random frequency."""
    draws = np.random.default_rng(mix(seed, 5))
    if draws.random() >= share:
        return wave
    spectrum = _spectrum(wave)
    end = draws.uniform(*_BAND_HZ) / (sample_rate / 2)  # share of the spectrum
    spectrum[int(end * len(spectrum)) :] = 0
    return torch.fft.irfft(spectrum)[: len(wave)]


def _spectrum(wave: Tensor) -> Tensor:
    """Of the clip with silence behind it, to an even length that is quick to transform: a prime one takes long."""
    return torch.fft.rfft(wave, 2 * next_fast_len(-(-len(wave) // 2), real=True))
