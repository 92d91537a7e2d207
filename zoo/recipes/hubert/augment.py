"""Augmentation of the input. The targets (units or text) stay those of the original clip.

Speed: the clip is played faster or slower. Pitch and formants change too, as with another speaker. Mixing: other speech
or noise is added to a part of the clip, as in WavLM (arXiv 2110.13900). Microphone: a random gain over frequency. Band:
a low-pass filter.

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

_SPEECH_DB = (-5.0, 5.0)  # level of the clip above the mixed-in speech
_MAX_SHARE = 0.5  # of the clip is mixed with speech


def augmented(
    items: Sequence[LoadedClip], config: HubertAugmentConfig, model: HuBERT, frames: Sequence[int] | None = None
) -> tuple[list[LoadedClip], list[Fraction]]:
    """The augmented clips of a batch, and the speed factor of each clip.

    frames: minimum number of frames of each clip, as its targets need them. A clip keeps its speed if it would become
    shorter than that, or too short for the model.
    """
    speeds = [draw_speed(item.seed, config.speed) for item in items]
    speeds = [
        speed if _long_enough(len(item.wave), speed, model, min_frames) else Fraction(1)
        for item, speed, min_frames in zip(items, speeds, frames or [0] * len(items), strict=True)
    ]
    waves = [speed_perturb(item.wave, speed) for item, speed in zip(items, speeds, strict=True)]
    waves = mix_in(waves, [item.seed for item in items], config)
    rate = model.sample_rate
    waves = [random_eq(w, item.seed, config.microphone, rate) for w, item in zip(waves, items, strict=True)]
    waves = [low_pass(w, item.seed, config.band, rate) for w, item in zip(waves, items, strict=True)]
    return [replace(item, wave=wave) for item, wave in zip(items, waves, strict=True)], speeds


def mix_in(waves: Sequence[Tensor], seeds: Sequence[int], config: HubertAugmentConfig) -> list[Tensor]:
    """Mix a segment of another clip of the batch, or noise, into some of the clips; (S,) -> (S,) each."""
    if not config.speech and not config.noise:
        return list(waves)
    mixed = []
    for i, (wave, seed) in enumerate(zip(waves, seeds, strict=True)):
        draws = np.random.default_rng(mix(seed, 4))
        chance = draws.random()
        if chance < config.speech and len(waves) > 1:
            other = waves[(i + 1 + int(draws.integers(len(waves) - 1))) % len(waves)]
            mixed.append(mix_at_snr(wave, other, _SPEECH_DB, _MAX_SHARE, draws))
        elif config.speech <= chance < config.speech + config.noise:
            mixed.append(mix_at_snr(wave, noise(len(wave), draws), NOISE_DB, 1.0, draws))
        else:
            mixed.append(wave)
    return mixed


def _long_enough(samples: int, speed: Fraction, model: HuBERT, frames: int) -> bool:
    return samples / speed >= model.min_samples and model.count_frames(math.ceil(samples / speed)) >= frames
