"""Changes to what the model hears, while what it is to learn of it stays that of the clip as it was recorded.

Speed: a clip played faster or slower, its pitch and formants moved with it: other speakers, the same words. Mixing:
other speech or noise over a part of the clip, as WavLM does (arXiv 2110.13900). Microphone: some frequencies stronger,
others weaker. Band: nothing above some frequency.

Legend: S samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from torch import Tensor

from zoo.audio.augment import NOISE_DB, draw_speed, low_pass, mix_at_snr, noise, random_eq, speed_perturb
from zoo.data.dataset import LoadedClip
from zoo.io.seeds import mix
from zoo.models.hubert.model import HuBERT
from zoo.recipes.hubert.config import HubertAugmentConfig

_SPEECH_DB = (-5.0, 5.0)  # level of the clip above what is mixed into it
_LONGEST = 0.5  # share of the clip that speech is mixed into, at most


def augmented(
    items: Sequence[LoadedClip], config: HubertAugmentConfig, model: HuBERT, frames: Sequence[int] | None = None
) -> tuple[list[LoadedClip], list[Fraction]]:
    """What the model hears of a batch, and how many times as fast each clip is played.

    frames: how many each clip must have for what is to be learned of it. One that would become too short for that, or
    for the model, keeps its speed.
    """
    speeds = [draw_speed(item.seed, config.speed) for item in items]
    speeds = [
        s if _long_enough(len(item.wave), s, model, need) else Fraction(1)
        for item, s, need in zip(items, speeds, frames or [0] * len(items), strict=True)
    ]
    waves = [speed_perturb(item.wave, speed) for item, speed in zip(items, speeds, strict=True)]
    waves = mix_in(waves, [item.seed for item in items], config)
    rate = model.sample_rate
    waves = [random_eq(w, item.seed, config.microphone, rate) for w, item in zip(waves, items, strict=True)]
    waves = [low_pass(w, item.seed, config.band, rate) for w, item in zip(waves, items, strict=True)]
    return [replace(item, wave=wave) for item, wave in zip(items, waves, strict=True)], speeds


def mix_in(waves: Sequence[Tensor], seeds: Sequence[int], config: HubertAugmentConfig) -> list[Tensor]:
    """Clips of a batch, some with a stretch of another clip of it or with noise laid over them; (S,) -> (S,)."""
    if not config.speech and not config.noise:
        return list(waves)
    mixed = []
    for i, (wave, seed) in enumerate(zip(waves, seeds, strict=True)):
        draws = np.random.default_rng(mix(seed, 4))
        chance = draws.random()
        if chance < config.speech and len(waves) > 1:
            other = waves[(i + 1 + int(draws.integers(len(waves) - 1))) % len(waves)]
            mixed.append(mix_at_snr(wave, other, _SPEECH_DB, _LONGEST, draws))
        elif config.speech <= chance < config.speech + config.noise:
            mixed.append(mix_at_snr(wave, noise(len(wave), draws), NOISE_DB, 1.0, draws))
        else:
            mixed.append(wave)
    return mixed


def _long_enough(samples: int, speed: Fraction, model: HuBERT, frames: int) -> bool:
    return samples / speed >= model.min_samples and model.count_frames(math.ceil(samples / speed)) >= frames
