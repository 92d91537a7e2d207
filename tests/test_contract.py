"""The promises that every registered encoder keeps (see zoo/encoder.py): to register a model is to have it tested."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import write_wav
from small import VARIANTS, noise, small, structures

import zoo
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError
from zoo.nn.kernels.switch import ENABLED
from zoo.nn.precision import to_dtype
from zoo.testing import TOLERANCE, difference

STRUCTURES = structures()
NAMES = list(STRUCTURES)  # one of each structure
_models: dict[str, Encoder] = {}


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest) -> Encoder:
    return _cached(request.param)


@pytest.fixture
def short_windows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Long-clip windows of 2 s with 0.5 s of context, so that a few seconds are a long clip."""
    monkeypatch.setattr(Encoder, "window_seconds", 2.0)
    monkeypatch.setattr(Encoder, "context_seconds", 0.5)
    yield


def _cached(name: str) -> Encoder:
    if name not in _models:
        _models[name] = small(name)
    return _models[name]


def test_every_registered_name_has_one_of_the_tested_structures() -> None:
    assert sorted(name for names in STRUCTURES.values() for name in names) == sorted([*zoo.list_models(), *VARIANTS])
    for tested, names in STRUCTURES.items():
        for name in names:
            assert small(name).fingerprint() == _cached(tested).fingerprint(), f"{name} is not tested by {tested}"


# 1. Batch-exact


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None)
@given(extra=st.lists(st.integers(0, 30_000), min_size=2, max_size=5), seed=st.integers(0, 99))
def test_batch_is_the_same_as_one_by_one(name: str, extra: list[int], seed: int) -> None:
    model = _cached(name)
    clips = [noise(3, seed + i)[: model.min_samples + n] for i, n in enumerate(extra)]
    together = model.embed(clips, model.sample_rate, layer="all", pooling="stats")
    alone = torch.stack([model.embed(c, model.sample_rate, layer="all", pooling="stats") for c in clips], dim=1)
    assert difference(together, alone) <= TOLERANCE


def test_forward_ignores_what_stands_in_the_padding(model: Encoder) -> None:
    waves = torch.stack([noise(1.5, 1), noise(1.5, 2)])
    lengths = torch.tensor([24_000, 11_111])
    waves[1, 11_111:] = 0
    corrupt = waves.clone()
    corrupt[1, 11_111:] = 999.0
    for gradients in (False, True):  # two code paths
        with torch.set_grad_enabled(gradients):
            clean, dirty = model(waves, lengths), model(corrupt, lengths)
        assert torch.equal(clean.lengths, dirty.lengths)
        assert difference(dirty.x, clean.x) <= TOLERANCE
        assert clean.x[1, int(clean.lengths[1]) :].abs().sum() == 0


def test_no_gradient_reaches_other_clips_or_padding(model: Encoder) -> None:
    waves = torch.stack([noise(1.5, 1), noise(1.5, 2)]).requires_grad_()
    frames = model(waves, torch.tensor([24_000, 11_111]))
    (frames.x[1] * torch.linspace(1, 2, model.dim)).square().sum().backward()  # not constant for unit vectors
    assert waves.grad is not None
    assert waves.grad[0].abs().max() == 0
    assert waves.grad[1, 11_111:].abs().max() == 0
    assert waves.grad[1, :11_111].abs().max() > 0


# 2. Deterministic


def test_same_input_gives_same_bytes(model: Encoder) -> None:
    clips = [noise(1.2, 3), noise(0.4, 4)]
    first = model.embed(clips, model.sample_rate)
    model.train()
    second = model.embed(clips, model.sample_rate)
    assert model.training, "embed must leave the training flag as it found it"
    model.eval()
    assert torch.equal(first, second)
    assert not first.requires_grad


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dtype", "cosine"), [("bfloat16", 0.999), ("int8", 0.99)])
def test_reduced_precision_repeats_and_is_close_to_float32(name: str, dtype: str, cosine: float) -> None:
    exact = small(name)
    clips = [noise(1.2, 3), noise(0.4, 4)]
    reference = exact.embed(clips, exact.sample_rate, layer="all")
    model = to_dtype(exact, dtype)
    found = []
    for _ in range(3):
        dirt = [torch.full((1 << 18,), float("nan")) for _ in range(8)]  # what reads memory it did not write finds NaN
        del dirt
        found.append(model.embed(clips, model.sample_rate, layer="all"))
    assert found[0].dtype == torch.float32
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    assert torch.cosine_similarity(found[0], reference, dim=-1).min() > cosine
    alone = torch.stack([model.embed(clip, model.sample_rate, layer="all") for clip in clips], dim=1)
    assert torch.cosine_similarity(alone, found[0], dim=-1).min() > cosine


@pytest.mark.slow
def test_compiled_models_embed_the_same() -> None:
    model = small("logmel")
    expected = model.embed(noise(1), 16_000, layer="all")
    model.compile(backend="eager")
    assert difference(model.embed(noise(1), 16_000, layer="all"), expected) <= TOLERANCE


# 3. Unbounded input


def test_long_clips_run_in_bounded_batches(
    model: Encoder, short_windows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.audio.batching.BATCH_SECONDS", 8.0)
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0].numel()))
    try:
        whole = noise(60, 5, model.sample_rate)
        embedded = model.embed(whole, model.sample_rate)
    finally:
        model._forward_pre_hooks.clear()
    assert len(seen) > 5 and max(seen) <= max(9 * model.sample_rate, model.frame_samples)
    frames = model.encode(whole, model.sample_rate)
    assert frames.x.shape == (1, model.count_frames(len(whole)), model.dim)
    assert difference(embedded, model.postprocess_pooled(frames.pool()[0], "mean")) <= TOLERANCE
    streamed = torch.cat(list(model.stream(whole, model.sample_rate)))
    assert difference(streamed, frames.x[0]) <= TOLERANCE


@pytest.mark.parametrize("name", ["logmel", "whisper-tiny"])
def test_stream_takes_what_encode_takes(name: str, short_windows: None, tmp_path: Path) -> None:
    model, whole = _cached(name), noise(5, 5)
    write_wav(tmp_path / "a.wav", 5.0)
    integers = (whole * 2**15).to(torch.int16)
    for wave, rate in [(str(tmp_path / "a.wav"), None), (integers, 16_000), (whole.double().numpy(), 16_000)]:
        frames = list(model.stream(wave, rate, layer=[0, -1]))
        assert len(frames) > 1
        assert difference(torch.cat(frames, dim=1), model.encode(wave, rate, layer=[0, -1]).x[:, 0]) <= TOLERANCE
    with pytest.raises(AudioError, match="sample_rate"):
        model.stream(whole)
    assert difference(torch.cat(list(model.stream(whole, 16_000))), model.encode(whole, 16_000).x[0]) <= TOLERANCE
    for wave, rate, reason in [
        (whole.numpy(), None, "waveform: .*pass sample_rate="),
        (integers, None, "waveform: .*pass sample_rate="),
        (whole[: model.min_samples - 1], 16_000, "waveform 0: .*too short"),
        (torch.full_like(whole, torch.nan), 16_000, "waveform: sample 0 is nan"),
        ("nothing.wav", None, "nothing.wav: no such file"),
        ([whole], 16_000, "waveform: is a list or a batch; pass one recording"),
        (torch.stack([whole, whole]), 16_000, "waveform: is a list or a batch; pass one recording"),
    ]:
        with pytest.raises(AudioError, match=f"^{reason}"):
            model.stream(wave, rate)
    with pytest.raises(ConfigError, match="layer"):
        model.stream(whole, 16_000, layer=model.num_layers + 1)


def test_windows_change_long_clips_little(model: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = noise(14, 6)
    exact = model.encode(whole, model.sample_rate).x[0]
    monkeypatch.setattr(Encoder, "window_seconds", 8.0)
    monkeypatch.setattr(Encoder, "context_seconds", 3.0)
    windowed = model.encode(whole, model.sample_rate).x[0]
    assert torch.cosine_similarity(windowed, exact, dim=-1).min() > 0.98
    first_layer = model.encode(whole, model.sample_rate, layer=0).x[0]
    monkeypatch.undo()
    exact_input = model.encode(whole, model.sample_rate, layer=0).x[0]
    assert difference(first_layer, exact_input) < 1e-4, "before attention, windows must change nothing"


# 4. Self-describing


def test_checkpoint_restores_the_same_model(model: Encoder, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    restored = zoo.load(tmp_path / "model", device="cpu")
    assert type(restored) is type(model)
    assert restored.config == model.config
    assert restored.fingerprint() == model.fingerprint()
    assert restored.preprocessing() == model.preprocessing()
    again, before = restored.embed(noise(1), 16_000), model.embed(noise(1), 16_000)
    assert difference(again, before) <= (0 if ENABLED else TOLERANCE), "MKL rounds by the address of a matrix"


# The methods


def test_shapes_and_layers(model: Encoder) -> None:
    clips, count = [noise(1.0, 7), noise(0.5, 8)], model.num_layers + 1
    frames = model.encode(clips, model.sample_rate, layer="all")
    assert frames.x.shape == (count, 2, model.count_frames(16_000), model.dim)
    assert frames.lengths.tolist() == [model.count_frames(16_000), model.count_frames(8_000)]
    assert frames.x.dtype == torch.float32
    assert model.embed(clips, model.sample_rate).shape == (2, model.dim)
    assert model.embed(clips[0], model.sample_rate).shape == (model.dim,)
    assert model.embed(clips, model.sample_rate, layer="all", pooling="stats").shape == (count, 2, 2 * model.dim)
    for k in range(count):
        single = model.encode(clips, model.sample_rate, layer=k).x
        assert difference(single, frames.x[k]) <= TOLERANCE
        assert difference(model.encode(clips, model.sample_rate, layer=k - count).x, single) <= TOLERANCE
    pair = model.encode(clips, model.sample_rate, layer=[count - 1, 0]).x
    assert difference(pair, frames.x[[count - 1, 0]]) <= TOLERANCE
    assert torch.equal(model.encode(clips, model.sample_rate, layer=np.array([count - 1, 0])).x, pair)
    embedded = model.embed(clips, model.sample_rate, layer=np.int64(0))
    assert torch.equal(embedded, model.embed(clips, model.sample_rate, layer=0))
    for wrong in (1.0, None, ["a"]):
        with pytest.raises(ConfigError, match=r"layer .*: give a number"):
            model.embed(clips, model.sample_rate, layer=wrong)


def test_a_call_without_lengths_means_no_padding(model: Encoder) -> None:
    waves = torch.stack([noise(0.5, 1), noise(0.5, 2)])
    frames = model(waves)
    expected = model(waves, torch.tensor([8_000, 8_000]))
    assert torch.equal(frames.x, expected.x) and torch.equal(frames.lengths, expected.lengths)
    named = model(lengths=torch.tensor([8_000, 8_000]), waves=waves, layer="all")
    assert named.x.shape[0] == model.num_layers + 1
    with pytest.raises(AudioError, match=r"waves: has shape \(8000,\); pass a batch"):
        model(waves[0])


def test_the_repr_of_a_model_is_one_line(model: Encoder) -> None:
    assert repr(model).startswith(f"{type(model).__name__}({model.name}: ") and "\n" not in repr(model)
    assert f"width {model.dim}, float32 on cpu)" in repr(model)
    assert "Module" not in repr(torch.nn.Sequential(model))


@pytest.mark.parametrize("pooling", ["mean", "max", "first", "stats"])
def test_pooling_looks_at_real_frames_only(model: Encoder, pooling: str) -> None:
    clips = [noise(1.0, 9), noise(0.3, 10)]
    frames = model.encode(clips, model.sample_rate)
    for b, real in enumerate(frames.unpad()):
        expected = {
            "mean": real.mean(0),
            "max": real.amax(0),
            "first": real[0],
            "stats": torch.cat([real.mean(0), real.std(0, correction=0)]),
        }[pooling]
        assert difference(frames.pool(pooling)[b], expected) <= TOLERANCE
        assert difference(model.embed(clips, model.sample_rate, pooling=pooling)[b], expected) <= TOLERANCE


def test_resampled_input_is_close(model: Encoder) -> None:
    clip = noise(1.0, 11)
    doubled = torch.nn.functional.interpolate(clip[None, None], scale_factor=2, mode="linear")[0, 0]
    native, resampled = model.embed(clip, 16_000), model.embed(doubled, 32_000)
    assert torch.cosine_similarity(native, resampled, dim=0) > 0.9


def test_errors_name_the_item_and_the_way_out(model: Encoder, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"waveform 1: .*too short"):
        model.embed([noise(1), noise(1)[: model.min_samples - 1]], model.sample_rate)
    write_wav(tmp_path / "short.wav", 1 / 16_000)
    with pytest.raises(AudioError, match=r"short\.wav: .*too short"):
        model.embed(tmp_path / "short.wav")
    with pytest.raises(AudioError, match=r"short\.wav: .*too short"):
        model.embed(tmp_path.glob("short.wav"))
    with pytest.raises(AudioError, match="sample_rate"):
        model.embed(noise(1))
    with pytest.raises(ConfigError, match="layer"):
        model.embed(noise(1), 16_000, layer=model.num_layers + 1)
    with pytest.raises(ConfigError, match="pooling"):
        model.embed(noise(1), 16_000, pooling="median")


def test_the_training_loop_of_the_documentation_runs() -> None:
    page = (Path(__file__).parents[1] / "docs" / "models.md").read_text()
    code = page.partition("## A training loop of your own")[2].partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    assert torch.isfinite(names["loss"])
    assert any(p.grad is not None and p.grad.any() for p in names["model"].parameters())


@pytest.mark.parametrize("name", ["mulan-resnet50", "whisper-tiny"])
def test_a_clip_too_short_for_forward_is_not_pooled(name: str) -> None:
    model = _cached(name)
    waves, lengths = zoo.audio.pad([noise(1), noise(1)[: model.min_samples - 1]])
    with pytest.raises(AudioError, match="waveform 1: has no frame to pool"):
        model(waves, lengths).pool()
