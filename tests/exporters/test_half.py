"""float16 checkpoints: half the size, rounded once, with the quantizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small import noise, small

import zoo
from zoo.data.sources import open as open_source
from zoo.errors import CheckpointError
from zoo.exporters.half import save_half
from zoo.units import fit_quantizer, layer


@pytest.mark.parametrize("name", ["hubert-base", "mulan-mini", "whisper-tiny"])
def test_a_half_checkpoint_is_the_rounded_model(name: str, tmp_path: Path) -> None:
    model = small(name)
    exact = model.embed(noise(1), 16_000)
    model.save(tmp_path / "full")
    save_half(model, tmp_path / "half")
    again = zoo.load(tmp_path / "half", device="cpu")
    assert again.fingerprint() == model.fingerprint()
    assert all(t.dtype == torch.float32 for t in again.state_dict().values() if t.is_floating_point())
    torch.testing.assert_close(again.embed(noise(1), 16_000), exact, rtol=0.02, atol=0.02 * float(exact.abs().max()))
    sizes = [(tmp_path / kind / "model.safetensors").stat().st_size for kind in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    tensors = load_file(tmp_path / "half" / "model.safetensors")
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float16}


def test_the_quantizer_is_saved_too(tmp_path: Path) -> None:
    model = small("hubert-base")
    entries = open_source("corpus:speech/tiny")[:4]
    model.attach(fit_quantizer(entries, layer(model, 1), 8, path=tmp_path / "quantizer.safetensors"))
    before = model.units(noise(2), 16_000)
    save_half(model, tmp_path / "half")
    after = zoo.load(tmp_path / "half", device="cpu").units(noise(2), 16_000)
    assert (after == before).float().mean() > 0.9


def test_weights_beyond_the_range_of_float16_are_refused(tmp_path: Path) -> None:
    model = small("hubert-base")
    with torch.no_grad():
        next(model.parameters()).fill_(1e6)
    with pytest.raises(CheckpointError, match="65504"):
        save_half(model, tmp_path / "half")
    assert not (tmp_path / "half").exists()
