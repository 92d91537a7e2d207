"""Packed checkpoints: half the size, one rounding, and what belongs to the weights goes along."""

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
def test_a_packed_model_is_the_rounded_one(name: str, tmp_path: Path) -> None:
    model = small(name)
    whole = model.embed(noise(1), 16_000)
    model.save(tmp_path / "whole")
    save_half(model, tmp_path / "packed")
    again = zoo.load(tmp_path / "packed", device="cpu")
    assert again.fingerprint() == model.fingerprint()
    assert all(t.dtype == torch.float32 for t in again.state_dict().values() if t.is_floating_point())
    torch.testing.assert_close(again.embed(noise(1), 16_000), whole, rtol=0.02, atol=0.02 * float(whole.abs().max()))
    sizes = [(tmp_path / kind / "model.safetensors").stat().st_size for kind in ("whole", "packed")]
    assert sizes[1] < 0.6 * sizes[0]
    tensors = load_file(tmp_path / "packed" / "model.safetensors")
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float16}


def test_units_go_along(tmp_path: Path) -> None:
    model = small("hubert-base")
    entries = open_source("corpus:speech/tiny")[:4]
    model.attach(fit_quantizer(entries, layer(model, 1), 8, path=tmp_path / "quantizer.safetensors"))
    before = model.units(noise(2), 16_000)
    save_half(model, tmp_path / "packed")
    after = zoo.load(tmp_path / "packed", device="cpu").units(noise(2), 16_000)
    assert (after == before).float().mean() > 0.9


def test_weights_that_half_precision_cannot_hold_are_refused(tmp_path: Path) -> None:
    model = small("hubert-base")
    with torch.no_grad():
        next(model.parameters()).fill_(1e6)
    with pytest.raises(CheckpointError, match="65504"):
        save_half(model, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()
