"""Nothing that outlives a call keeps torch's modes of that call: inference mode, default dtype."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from small import noise, small, structures

import zoo
from zoo.audio.resampling import _resampler
from zoo.encoder import Encoder
from zoo.errors import AudioError
from zoo.models.ast.fbank import kaldi_filters
from zoo.models.clap.audio import mel_filters as clap_filters
from zoo.nn.frontend import mel_filters, slaney_filters
from zoo.testing import TOLERANCE, difference

CACHES = (mel_filters, slaney_filters, kaldi_filters, clap_filters, _resampler)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.fixture(autouse=True)
def empty_caches() -> Iterator[None]:
    """The first call of a process is the one that fills them."""
    for cache in CACHES:
        cache.cache_clear()
    yield
    for cache in CACHES:
        cache.cache_clear()


def assert_differentiable(model: Encoder) -> None:
    wave = noise(1.0).requires_grad_()
    model(wave[None], torch.tensor([len(wave)])).x.square().sum().backward()
    assert wave.grad is not None and wave.grad.any()


@pytest.mark.parametrize("name", structures())
def test_gradients_work_after_a_first_embed_in_inference_mode(name: str) -> None:
    model = small(name)
    with torch.inference_mode():
        first = model.embed(noise(1.0), 22_050)
    assert_differentiable(model)
    assert torch.equal(model.embed(noise(1.0), 22_050), first)


@pytest.mark.parametrize("name", structures())
def test_the_default_dtype_changes_nothing(name: str) -> None:
    model = small(name)
    wave = noise(1.0)
    with default_dtype(torch.float64):
        first = model.embed([wave, wave[:9_000]], 22_050, pooling="stats")
        frames = model.encode(wave, 22_050)
    assert first.dtype == frames.x.dtype == torch.float32
    for cache in CACHES:
        cache.cache_clear()
    # Kaldi's MFCC makes its filters in each call; all other models give the same bytes.
    assert difference(model.embed([wave, wave[:9_000]], 22_050, pooling="stats"), first) <= TOLERANCE
    assert difference(model.encode(wave, 22_050).x, frames.x) <= TOLERANCE
    assert name == "mfcc" or torch.equal(model.encode(wave, 22_050).x, frames.x)
    assert_differentiable(model)


@pytest.mark.parametrize("name", structures())
def test_the_default_device_changes_nothing(name: str) -> None:
    model = small(name)
    wave = noise(1.0)
    with torch.device("meta"):
        first = model.embed([wave, wave[:9_000]], 22_050, pooling="stats")
        frames = model.encode(wave, 22_050)
        streamed = list(model.stream(wave, 22_050))
        assert torch.empty(0).is_meta, "the default of the caller is kept"
    assert frames.lengths.device.type == first.device.type == "cpu"
    for cache in CACHES:
        cache.cache_clear()
    assert torch.equal(model.embed([wave, wave[:9_000]], 22_050, pooling="stats"), first)
    assert torch.equal(model.encode(wave, 22_050).x, frames.x)
    assert all(torch.equal(*pair) for pair in zip(model.stream(wave, 22_050), streamed, strict=True))


@pytest.mark.parametrize("wave", [torch.empty(16_000, device="meta"), torch.zeros(16_000).to_sparse()])
def test_tensors_without_dense_values_are_refused(wave: torch.Tensor) -> None:
    for waves in (wave, [wave]):
        with pytest.raises(AudioError, match=r"waveform.*(meta device|sparse)"):
            small("mfcc").embed(waves, 16_000)


@pytest.mark.parametrize("rates", [(22_050, 16_000), (22_254, 16_000)])  # torchaudio's filter and the sparse one
def test_filters_of_resampling_are_ordinary_float32(rates: tuple[int, int]) -> None:
    wave = noise(0.1)
    expected = zoo.audio.resample(wave, *rates)
    _resampler.cache_clear()
    with default_dtype(torch.float64), torch.inference_mode():
        first = zoo.audio.resample(wave, *rates)
    assert first.dtype == torch.float32 and torch.equal(first, expected)
    wave.requires_grad_()
    zoo.audio.resample(wave, *rates).sum().backward()
    assert wave.grad is not None


def test_models_are_loaded_and_created_the_same_in_any_mode() -> None:
    expected = zoo.load("hubert", device="cpu")
    with default_dtype(torch.float64), torch.inference_mode():
        models = [zoo.load("hubert", device="cpu"), zoo.load("hubert", device="cpu", dtype="bfloat16"), small("hubert")]
    assert models[0].fingerprint() == expected.fingerprint()
    assert models[2].fingerprint() == small("hubert").fingerprint()
    assert torch.equal(models[0].units(noise(1.0), 16_000), expected.units(noise(1.0), 16_000))
    for model in models:
        assert not any(tensor.is_inference() for tensor in (*model.parameters(), *model.buffers()))
        assert_differentiable(model)
    assert torch.get_default_dtype() == torch.float32
