"""Augmentation of HuBERT training clips: speed, mixing, microphone and band, with the units of the original clip."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from small import noise, small
from torch import Tensor

from zoo.audio.augment import draw_speed, low_pass, random_eq, speed_perturb
from zoo.data.dataset import LoadedClip
from zoo.data.manifest import Entry
from zoo.errors import ConfigError
from zoo.models.hubert.model import HuBERT
from zoo.recipes.hubert.augment import mix_in
from zoo.recipes.hubert.config import HubertAugmentConfig, MaskConfig
from zoo.recipes.hubert.task import HubertCollate

RATE = 16_000


def test_speeds_fill_their_range_and_depend_on_the_seed_only() -> None:
    speeds = [draw_speed(seed, 0.15) for seed in range(300)]
    assert set(speeds) == {Fraction(n, 20) for n in range(17, 24)}
    assert speeds == [draw_speed(seed, 0.15) for seed in range(300)]
    assert {draw_speed(seed, 0.0) for seed in range(20)} == {Fraction(1)}


def test_a_faster_clip_is_shorter_and_higher() -> None:
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(RATE) / RATE)
    fast = speed_perturb(tone, Fraction(23, 20))
    assert len(fast) == -(-RATE * 20 // 23)
    peak = int(torch.fft.rfft(fast, n=RATE).abs().argmax())
    assert peak == pytest.approx(440 * 23 / 20, abs=2)
    assert speed_perturb(tone, Fraction(1)) is tone


def test_shares_levels_and_lengths_of_mixing() -> None:
    waves = [noise(0.5, i) for i in range(400)]
    config = HubertAugmentConfig(speech=0.3, noise=0.2)
    mixed = mix_in(waves, list(range(400)), config)
    changed = [i for i, (a, b) in enumerate(zip(waves, mixed, strict=True)) if not torch.equal(a, b)]
    assert 0.42 * 400 < len(changed) < 0.58 * 400
    ratios = torch.stack([_decibels(waves[i], mixed[i] - waves[i]) for i in changed])
    assert ratios.min() > -6 and 15 < ratios.max() < 21, "-5 to 5 dB of speech, -5 to 20 dB of noise"
    again = mix_in(waves, list(range(400)), config)
    assert all(torch.equal(a, b) for a, b in zip(mixed, again, strict=True))
    assert torch.equal(mix_in(waves[:1], [0], HubertAugmentConfig(speech=1.0))[0], waves[0]), "no other clip to mix in"


def test_low_pass_removes_high_frequencies_only() -> None:
    waves = [noise(0.25, seed) for seed in range(200)]
    cut = [low_pass(wave, seed, 0.4, RATE) for seed, wave in enumerate(waves)]
    changed = [(wave, narrow) for wave, narrow in zip(waves, cut, strict=True) if narrow is not wave]
    assert 0.3 * 200 < len(changed) < 0.5 * 200
    for wave, narrow in changed:
        before, after = torch.fft.rfft(wave).abs(), torch.fft.rfft(narrow).abs()
        end = int((after > 1e-3 * before.max()).nonzero().max()) / len(after) * RATE / 2
        assert 2950 < end < 7050
        low = int(2900 / (RATE / 2) * len(after))
        assert torch.allclose(before[:low], after[:low], atol=1e-3)
    assert low_pass(waves[0], 0, 0.0, RATE) is waves[0]
    with pytest.raises(ConfigError, match="band"):
        HubertAugmentConfig(band=1.5)


def test_random_eq_is_smooth_and_moderate() -> None:
    waves = [noise(0.25, seed) for seed in range(200)]
    changed = {i: random_eq(wave, i, 0.4, RATE) for i, wave in enumerate(waves)}
    changed = {i: wave for i, wave in changed.items() if wave is not waves[i]}
    assert 0.3 * 200 < len(changed) < 0.5 * 200
    gains = torch.stack([_band_levels(wave) - _band_levels(waves[i]) for i, wave in changed.items()])  # (N, 20) dB
    assert 4 < gains.std() < 9 and gains.abs().max() < 30
    assert (gains[:, 1:] - gains[:, :-1]).abs().mean() < 0.5 * gains.abs().mean(), (
        "neighboring bands change by similar amounts"
    )
    again = random_eq(waves[0], 0, 1.0, RATE)
    assert torch.equal(again, random_eq(waves[0], 0, 1.0, RATE)) and len(again) == len(waves[0])
    assert random_eq(waves[0], 0, 0.0, RATE) is waves[0]
    with pytest.raises(ConfigError, match="microphone"):
        HubertAugmentConfig(microphone=1.5)


def _band_levels(wave: Tensor) -> Tensor:
    """(20,) dB in bands of 400 Hz."""
    power = torch.fft.rfft(wave).abs().square()[:-1]
    return 10 * power.unflatten(0, (20, -1)).mean(1).log10()


def _decibels(wave: Tensor, added: Tensor) -> Tensor:
    """Level of the clip relative to the added segment, in dB."""
    return 10 * torch.log10(wave.square().mean() / added[added != 0].square().mean())


class _Labels:
    """Records the speeds of all requests for units."""

    sizes = (1,)

    def __init__(self) -> None:
        self.requested_speeds: list[float] = []

    def at(self, index: int, start: int, frames: int, encoder: HuBERT, *, speed: float = 1.0) -> Tensor:
        self.requested_speeds.append(speed)
        return torch.zeros(frames, 1, dtype=torch.int64)


def test_units_are_looked_up_at_the_speed_of_the_clip() -> None:
    model, labels = small("hubert-base"), _Labels()
    seeds = range(40)
    items = [LoadedClip(noise(0.4, i), i, Entry(Path(f"{i}.wav"), 0.4, "train"), 0, i) for i in seeds]
    batch = HubertCollate(model, labels, MaskConfig(), HubertAugmentConfig(speed=0.2))(items)  # type: ignore[arg-type]
    expected = [draw_speed(seed, 0.2) for seed in seeds]
    assert labels.requested_speeds == [float(speed) for speed in expected]
    assert batch.lengths.tolist() == [-(-6400 * speed.denominator // speed.numerator) for speed in expected]
    tiny = [LoadedClip(noise(0.4, 0)[: model.min_samples], 0, items[0].entry, 0, seed) for seed in range(20)]
    lengths = HubertCollate(model, labels, MaskConfig(), HubertAugmentConfig(speed=0.2))(tiny).lengths  # type: ignore[arg-type]
    assert lengths.min() >= model.min_samples, "a clip never becomes too short for the model"


def test_impossible_shares_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"augment\.speed 0\.04: .* changes nothing"):
        HubertAugmentConfig(speed=0.04)
    with pytest.raises(ConfigError, match=r"augment\.speed"):
        HubertAugmentConfig(speed=0.9)
    with pytest.raises(ConfigError, match=r"augment\.speech 0\.7, noise 0\.6"):
        HubertAugmentConfig(speech=0.7, noise=0.6)
