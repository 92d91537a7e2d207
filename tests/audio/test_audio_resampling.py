"""Resampling: block by block gives the same as the whole waveform, and both equal torchaudio."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from zoo import audio
from zoo.audio import resampling
from zoo.audio.resampling import BLOCK, SparseResample, resample_blocks
from zoo.errors import AudioError

RATES = [8000, 11025, 16000, 22050, 22254, 24000, 32000, 44056, 44100, 48000, 96000]


def noise(samples: int) -> torch.Tensor:
    return torch.rand(samples, generator=torch.Generator().manual_seed(samples)) * 2 - 1


def reference(wave: torch.Tensor, source: int, target: int) -> torch.Tensor:
    """torchaudio with the kernel in float64: in float32 its samples differ by up to 4e-5."""
    return torchaudio.functional.resample(wave.double(), source, target).float()


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


@settings(max_examples=150, deadline=None)
@given(
    source=st.sampled_from(RATES),
    target=st.sampled_from([8000, 16000, 24000, 32000, 44100]),
    samples=st.integers(1, 20000),
    sizes=st.lists(st.integers(0, 6000), min_size=1, max_size=12).filter(any),
)
def test_blocks_equal_the_whole(source: int, target: int, samples: int, sizes: list[int]) -> None:
    wave = noise(samples)
    blocks, start = [], 0
    while start < samples:
        size = sizes[len(blocks) % len(sizes)]
        blocks.append(wave[start : start + size])
        start += size
    whole = audio.resample(wave, source, target)
    assert len(whole) == math.ceil(samples * target / source)
    close(torch.cat(list(resample_blocks(iter(blocks), source, target))), whole)


@settings(max_examples=40, deadline=None)
@given(
    source=st.sampled_from([8000, 11025, 22050, 24000, 44100, 48000]),
    target=st.sampled_from([8000, 16000, 24000, 44100]),
    samples=st.integers(1, 30000),
)
def test_whole_is_torchaudio(source: int, target: int, samples: int) -> None:
    wave = noise(samples)
    expected = reference(wave, source, target)
    ours = audio.resample(wave, source, target)
    assert 0 <= len(ours) - len(expected) <= 1  # torchaudio computes the length in float32
    close(ours[: len(expected)], expected)


@pytest.mark.parametrize(("o", "n"), [(441, 160), (160, 441), (3, 2), (1, 2), (3, 1), (320, 441), (2003, 1009)])
def test_sparse_filter_is_torchaudio(o: int, n: int) -> None:
    wave = noise(10007)
    expected = reference(wave, o, n)
    close(SparseResample(o, n)(wave)[: len(expected)], expected)


class StorageSizes(TorchDispatchMode):
    """Records the bytes of the largest tensor that any operation makes."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.largest = max(self.largest, result.untyped_storage().nbytes())
        return result


@pytest.mark.parametrize(("source", "target"), [(1009, 16000), (99_991, 16000), (22254, 16000)])
def test_odd_rates_take_little_memory(source: int, target: int) -> None:
    """Each output has its own row of weights: those of all outputs at once could be gigabytes."""
    resampling._resampler.cache_clear()
    wave = noise(30_000)
    with StorageSizes() as sizes:
        audio.resample(wave, source, target)
    weights = 4 * target * (2 * resampling._half_width(source, target) + 2)
    result = 4 * (len(wave) + 2 * resampling.STEP + source) * target // source  # of the wave and zeros behind it
    padded = 4 * (len(wave) + 2 * resampling.STEP + 2 * source)
    assert sizes.largest <= max(weights, padded, result, 8 * resampling.AT_ONCE)


def test_few_products_at_once_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = noise(3001)
    expected = SparseResample(2003, 1009)(wave)
    monkeypatch.setattr(resampling, "AT_ONCE", 100)
    assert torch.equal(SparseResample(2003, 1009)(wave), expected)


@pytest.mark.parametrize(("source", "target"), [(44100, 16000), (22254, 16000), (8000, 16000), (47999, 16001)])
def test_a_tone_keeps_its_frequency(source: int, target: int) -> None:
    def tone(rate: int) -> torch.Tensor:
        return torch.sin(2 * math.pi * 440 * torch.arange(rate, dtype=torch.float64) / rate).float()

    inner = slice(100, -100)  # beyond the ends, the input of the filter is zero
    torch.testing.assert_close(
        audio.resample(tone(source), source, target)[inner], tone(target)[inner], atol=2e-3, rtol=0
    )


def test_long_wave_in_memory() -> None:
    wave = noise(3 * BLOCK + 12345)
    expected = reference(wave, 44100, 16000)
    ours = audio.resample(wave, 44100, 16000)
    assert len(ours) == math.ceil(len(wave) * 160 / 441)
    close(ours[: len(expected)], expected)


def test_length_is_exact_where_torchaudio_rounds_it_down() -> None:
    samples = 441 * 1000 + pow(160, -1, 441)  # R = 160000.x + 1 / 441, which float32 cannot represent
    wave = noise(samples)
    assert len(reference(wave, 44100, 16000)) == samples * 160 // 441
    assert len(audio.resample(wave, 44100, 16000)) == samples * 160 // 441 + 1


def test_all_lengths_share_few_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each new input shape of the convolution takes time and memory."""
    run, shapes = resampling._resampler(441, 160), set()

    def record_shape(wave: torch.Tensor) -> torch.Tensor:
        shapes.add(len(wave))
        return run(wave)

    monkeypatch.setattr(resampling, "_resampler", lambda o, n: record_shape)
    for samples in range(20000, 30000, 97):
        audio.resample(noise(samples), 44100, 16000)
    for _ in resample_blocks(noise(40 * 50000 + samples).split(50000), 44100, 16000):
        pass
    assert len(shapes) < 12


def test_equal_rates_change_nothing() -> None:
    wave = noise(100)
    assert audio.resample(wave, 16000, 16000) is wave
    assert torch.equal(torch.cat(list(resample_blocks([wave, wave], 16000, 16000))), torch.cat([wave, wave]))


@pytest.mark.parametrize("rate", [0, -1, 16, 10**7, 16000.5, float("nan"), float("inf"), "16000", None, True])
def test_invalid_rates(rate: object) -> None:
    with pytest.raises(AudioError, match="sample rate"):
        audio.resample(noise(100), rate, 16000)  # type: ignore[arg-type]
    with pytest.raises(AudioError, match="sample rate"):
        audio.resample(noise(100), 16000, rate)  # type: ignore[arg-type]
