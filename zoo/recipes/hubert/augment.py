"""Changes to what the model hears, while what it is to learn of it stays that of the clip as it was recorded.

Speed: a clip played faster or slower, its pitch and formants moved with it: other speakers, the same words. Mixing:
other speech or noise over a part of the clip, as WavLM does (arXiv 2110.13900). Band: nothing above some frequency.

Legend: S samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from zoo.audio import resample
from zoo.data.dataset import Item
from zoo.data.sampler import mix
from zoo.models.hubert import HuBERT
from zoo.recipes.hubert.config import AugmentConfig

Range = tuple[float, float]

_STEPS = 20  # speeds are whole twentieths: the filter that resamples stays short
_SPEECH_DB = (-5.0, 5.0)  # level of the clip above what is mixed into it
_NOISE_DB = (-5.0, 20.0)
_BAND_HZ = (3000.0, 7000.0)  # where a cut band ends
_LONGEST = 0.5  # share of the clip that speech is mixed into, at most


def augmented(items: Sequence[Item], config: AugmentConfig, model: HuBERT) -> tuple[list[Item], list[Fraction]]:
    """What the model hears of a batch, and how many times as fast each clip is played.

    A clip that would become too short for the model keeps its speed.
    """
    speeds = [draw_speed(item.seed, config) for item in items]
    speeds = [
        s if len(item.wave) / s >= model.min_samples else Fraction(1) for item, s in zip(items, speeds, strict=True)
    ]
    waves = [at_speed(item.wave, speed) for item, speed in zip(items, speeds, strict=True)]
    waves = mix_in(waves, [item.seed for item in items], config)
    waves = [cut_band(wave, item.seed, config, model.sample_rate) for wave, item in zip(waves, items, strict=True)]
    return [replace(item, wave=wave) for item, wave in zip(items, waves, strict=True)], speeds


def draw_speed(seed: int, config: AugmentConfig) -> Fraction:
    """How many times as fast the clip of this seed is played: a whole number of twentieths within 1 +- config.speed."""
    most = int(config.speed * _STEPS + 1e-9)
    return Fraction(_STEPS + mix(seed, 3) % (2 * most + 1) - most, _STEPS)


def at_speed(wave: Tensor, speed: Fraction) -> Tensor:
    """(S,) -> (ceil(S / speed),)."""
    return resample(wave, 1000 * speed.numerator, 1000 * speed.denominator)


def mix_in(waves: Sequence[Tensor], seeds: Sequence[int], config: AugmentConfig) -> list[Tensor]:
    """Clips of a batch, some with a stretch of another clip of it or with noise laid over them; (S,) -> (S,)."""
    if not config.speech and not config.noise:
        return list(waves)
    mixed = []
    for i, (wave, seed) in enumerate(zip(waves, seeds, strict=True)):
        draws = np.random.default_rng(mix(seed, 4))
        chance = draws.random()
        if chance < config.speech and len(waves) > 1:
            other = waves[(i + 1 + int(draws.integers(len(waves) - 1))) % len(waves)]
            mixed.append(_over(wave, other, _SPEECH_DB, _LONGEST, draws))
        elif config.speech <= chance < config.speech + config.noise:
            mixed.append(_over(wave, _noise(len(wave), draws), _NOISE_DB, 1.0, draws))
        else:
            mixed.append(wave)
    return mixed


def cut_band(wave: Tensor, seed: int, config: AugmentConfig, sample_rate: int) -> Tensor:
    """(S,) -> (S,): some clips lose all above a random frequency."""
    draws = np.random.default_rng(mix(seed, 5))
    if draws.random() >= config.band:
        return wave
    spectrum = torch.fft.rfft(wave)
    end = draws.uniform(*_BAND_HZ) / (sample_rate / 2)  # share of the spectrum
    spectrum[int(end * len(spectrum)) :] = 0
    return torch.fft.irfft(spectrum, len(wave))


def _over(wave: Tensor, other: Tensor, decibels: Range, most: float, draws: np.random.Generator) -> Tensor:
    """A stretch of `other`, no longer than `most` of the clip, at a random place and level over the clip."""
    count = min(int(draws.uniform(0.0, most) * len(wave)), len(other))
    source, place = int(draws.integers(len(other) - count + 1)), int(draws.integers(len(wave) - count + 1))
    stretch = other[source : source + count]
    level = 10 ** (-draws.uniform(*decibels) / 20)
    loudness = wave.square().mean().sqrt() / stretch.square().mean().sqrt().clamp(min=1e-6) if count else 0.0
    out = wave.clone()
    out[place : place + count] += stretch * (loudness * level)
    return out


def _noise(count: int, draws: np.random.Generator) -> Tensor:
    """(S,) noise whose power falls as frequency to a power between 0 (white) and -2 (brown)."""
    white = torch.from_numpy(draws.standard_normal(count, dtype=np.float32))
    spectrum = torch.fft.rfft(white)
    frequencies = torch.linspace(0, 1, len(spectrum)).clamp(min=0.005)
    return torch.fft.irfft(spectrum * frequencies ** -draws.uniform(0.0, 1.0), count)
