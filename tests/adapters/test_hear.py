"""HEAR's validator, and the times of frames that it sees."""

from __future__ import annotations

import sys
import types
import warnings

import pytest
import torch
from small import noise, small, structures

import zoo
from zoo.adapters import hear
from zoo.adapters.hear import HearModel
from zoo.encoder import Encoder

PACKAGED = ["logmel", "mfcc", "hubert-mini", "mulan-mini", "whisper-mini"]
SECONDS = [1.07, 1.98, 4.0]  # of the validator


def check_times(model: HearModel, seconds: float) -> None:
    """What hear-validator checks of timestamps, warnings as errors
    (https://github.com/hearbenchmark/hear-validator/blob/8c2cb84/hearvalidator/validate.py).
    """
    audio = 2 * torch.rand(2, int(seconds * model.sample_rate)) - 1
    frames, times = hear.get_timestamp_embeddings(audio, model)
    assert frames.dtype == torch.float32 and frames.shape == (2, times.shape[1], model.timestamp_embedding_size)
    assert times.shape[0] == 2 and times.max() <= 1000 * seconds
    if times.shape[1] > 1 and model.encoder.frame_rate > 10:  # frames of whole windows are far apart by nature
        steps = times.diff()
        hop = steps.mean()
        assert steps.max() <= 50 and (steps - hop).abs().max() <= 1
        assert times.min() <= hop
        assert times.max() >= 1000 * seconds - min(float(hop), 50)


@pytest.mark.parametrize("name", structures())
def test_the_validator_has_nothing_to_warn_of(name: str) -> None:
    model = HearModel(small(name))
    for seconds in SECONDS:
        check_times(model, seconds)
    assert hear.get_scene_embeddings(torch.rand(4, 2 * model.sample_rate), model).shape == (4, model.encoder.dim)


def test_frames_and_times_are_those_of_encode_and_repeated_at_the_ends() -> None:
    model = HearModel(zoo.load("hubert-mini", device="cpu"))
    audio = noise(1.07)[None]
    frames, times = hear.get_timestamp_embeddings(audio, model)
    encoded = model.encoder.encode(list(audio), 16_000)
    assert times[0, :4].tolist() == pytest.approx([12.5, 32.5, 52.5, 72.5]) and encoded.first_time == 0.0725
    assert (times[0, 3:-3] - 1000 * encoded.times).abs().max() < 1e-3
    assert torch.equal(frames[:, 3:-3], encoded.x)
    assert (frames[0, :3] == encoded.x[0, 0]).all() and (frames[0, -3:] == encoded.x[0, -1]).all()


def test_a_clip_shorter_than_a_window_has_its_frame_inside() -> None:
    model = HearModel(zoo.load("mulan-mini", device="cpu"))
    _, times = hear.get_timestamp_embeddings(noise(1.0)[None], model)
    assert times.tolist() == [[1000.0]]


@pytest.mark.parametrize("name", ["logmel", "hubert-base", "hubert-large", "hubert-fast", "whisper-tiny"])
def test_the_time_of_a_frame_is_where_its_samples_are(name: str) -> None:
    """The center of the squared gradient of a frame is at most half a hop from its time."""
    model = small(name)
    wave = noise(2.0)[None].requires_grad_()
    frames = model(wave, torch.tensor([wave.shape[1]]), layer=0)
    index = frames.x.shape[1] // 2
    energy = _gradient_energy(model, frames.x[0, index], wave)
    center = float((energy * (torch.arange(len(energy)) + 0.5)).sum() / energy.sum()) / model.sample_rate
    assert abs(center - float(frames.times[index])) < 0.5 * model.hop / model.sample_rate


def _gradient_energy(model: Encoder, frame: torch.Tensor, wave: torch.Tensor) -> torch.Tensor:
    """(S,) squared gradients of random projections of a frame (D,)."""
    generator = torch.Generator().manual_seed(0)
    projections = torch.randn(8, model.dim, generator=generator)
    gradients = [torch.autograd.grad(frame @ v, wave, retain_graph=True)[0][0] for v in projections]
    return torch.stack(gradients).square().sum(0)


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGED)
def test_the_validator_itself(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its one unconditional warning is about hops that are not a whole number of samples."""
    tensorflow = types.ModuleType("tensorflow")  # the validator imports it, and only asks whether a model is one of it
    tensorflow.Module = type("Module", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    validate = pytest.importorskip("hearvalidator.validate")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        validate.ValidateModel("zoo.adapters.hear", name, device="cpu")()
    assert len(caught) == 1 and "rounding errors accumulating" in str(caught[0].message)
