"""Changes to a recording that leave what is said in it: another speed, noise or speech over it, a narrow band.

Legend: S samples.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from zoo.audio import resample
from zoo.data.sampler import mix

Range = tuple[float, float]

NOISE_DB = (-5.0, 20.0)  # level of the clip above noise
_STEPS = 20  # speeds are whole twentieths: the filter that resamples stays short
_BAND_HZ = (3000.0, 7000.0)  # where a cut band ends


def draw_speed(seed: int, most: float) -> Fraction:
    """How many times as fast the clip of this seed is played: a whole number of twentieths within 1 +- most."""
    steps = int(most * _STEPS + 1e-9)
    return Fraction(_STEPS + mix(seed, 3) % (2 * steps + 1) - steps, _STEPS)


def at_speed(wave: Tensor, speed: Fraction) -> Tensor:
    """(S,) -> (ceil(S / speed),), its pitch and formants moved with it: another speaker, the same words."""
    return resample(wave, 1000 * speed.numerator, 1000 * speed.denominator)


def laid_over(wave: Tensor, other: Tensor, decibels: Range, most: float, draws: np.random.Generator) -> Tensor:
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
    spectrum = torch.fft.rfft(white)
    frequencies = torch.linspace(0, 1, len(spectrum)).clamp(min=0.005)
    return torch.fft.irfft(spectrum * frequencies ** -draws.uniform(0.0, 1.0), count)


def cut_band(wave: Tensor, seed: int, share: float, sample_rate: int) -> Tensor:
    """(S,) -> (S,): of the clips, this share loses all above a random frequency."""
    draws = np.random.default_rng(mix(seed, 5))
    if draws.random() >= share:
        return wave
    spectrum = torch.fft.rfft(wave)
    end = draws.uniform(*_BAND_HZ) / (sample_rate / 2)  # share of the spectrum
    spectrum[int(end * len(spectrum)) :] = 0
    return torch.fft.irfft(spectrum, len(wave))
