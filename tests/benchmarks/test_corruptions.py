"""Corruptions have the strength of their name, are the same in every run, and give the expected length."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from small import noise

from zoo.benchmarks.conditions import parse
from zoo.benchmarks.corruptions import corrupt
from zoo.benchmarks.corruptions import noise as colored
from zoo.errors import ConfigError

RATE = 16_000
DIGEST = "0123456789abcdef01234567"
ALL = ["pink 10", "white 0", "room 0.4", "speed 0.9", "opus 16", "telephone"]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_the_same_clip_gives_the_same_result_and_others_differ(name: str, rate: int) -> None:
    wave, condition = noise(0.7, 1, rate), parse(name)
    corrupted = corrupt(wave, rate, condition, DIGEST)
    assert torch.equal(corrupted, corrupt(wave.clone(), rate, condition, DIGEST)) and torch.isfinite(corrupted).all()
    assert abs(len(corrupted) - len(wave) * condition.stretch) <= 1 and corrupted.dtype == torch.float32
    assert (corrupted[: len(wave)] - wave[: len(corrupted)]).abs().max() > 1e-3, "the clip changed"
    chance = condition.kind in ("pink", "white", "room")
    assert torch.equal(corrupted, corrupt(wave, rate, condition, "f" + DIGEST[1:])) != chance
    assert not corrupt(torch.zeros(4000), rate, condition, DIGEST).any(), "silence stays silence"


@pytest.mark.parametrize("name", ["pink 10", "white 10", "pink -5"])
def test_noise_has_the_stated_ratio(name: str) -> None:
    wave = noise(4.0, 2)
    added = corrupt(wave, RATE, parse(name), DIGEST) - wave
    ratio = 10 * math.log10(float(wave.square().mean() / added.square().mean()))
    assert ratio == pytest.approx(float(name.split()[1]), abs=0.1)


def test_pink_noise_loses_three_decibels_an_octave() -> None:
    power = torch.fft.rfft(colored(2**18, RATE, "pink", torch.Generator().manual_seed(0))).abs().square()
    hertz = torch.fft.rfftfreq(2**18, 1 / RATE)
    octaves = [power[(hertz >= f) & (hertz < 2 * f)].mean() for f in (100.0, 200.0, 400.0, 800.0, 1600.0)]
    drops = [10 * math.log10(float(a / b)) for a, b in pairwise(octaves)]
    assert drops == pytest.approx([3.01] * 4, abs=0.4)


def test_reverberation_has_the_stated_time() -> None:
    click = torch.zeros(RATE)
    click[0] = 1.0
    energy = corrupt(click, RATE, parse("room 0.5"), DIGEST)[1:].square()
    tail = energy.flip(0).cumsum(0).flip(0)  # Schroeder's backward integration
    fall = 10 * math.log10(float(tail[0] / tail[int(0.25 * RATE)]))
    assert fall == pytest.approx(30, abs=2)


def test_a_telephone_is_narrow_and_speed_moves_pitch() -> None:
    time = torch.arange(RATE) / RATE
    tones = sum(0.2 * torch.sin(2 * math.pi * f * time) for f in (100, 1000, 6000))
    spectrum = torch.fft.rfft(corrupt(tones, RATE, parse("telephone"), DIGEST)).abs()
    assert spectrum[1000] > 20 * spectrum[6000] and spectrum[1000] > 5 * spectrum[100]
    slow = corrupt(torch.sin(2 * math.pi * 1000 * time), RATE, parse("speed 0.5"), DIGEST)
    assert len(slow) == 2 * RATE and int(torch.fft.rfft(slow).abs().argmax()) == 1000  # bins of 0.5 Hz: 500 Hz


@pytest.mark.parametrize("name", ["pnk 10", "pink", "pink loud", "pink 900", "opus 2", "telephone 3", ""])
def test_unknown_conditions_are_named(name: str) -> None:
    with pytest.raises(ConfigError, match="condition"):
        parse(name)
