"""`zoo.testing.check_encoder` accepts encoders that keep the contract and names the promise that others break."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import small, structures
from torch import Tensor

import zoo
from zoo.encoder import Encoder, Frames
from zoo.models.spectral.model import Spectral
from zoo.testing import ContractError, check_encoder


@pytest.mark.parametrize("name", ["logmel", "hubert-base", "mulan-resnet50"])
def test_encoders_of_zoo_keep_the_contract(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Encoder, "window_seconds", 4.0)
    monkeypatch.setattr(Encoder, "context_seconds", 1.0)
    check_encoder(small(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", structures())
def test_every_structure_keeps_the_contract(name: str) -> None:
    check_encoder(small(name))


class Broken(Spectral):
    """Log-mel with one fault."""

    fault = ""

    def forward(self, waves: Tensor, lengths: Tensor, **named: Any) -> Frames:
        frames = super().forward(waves, lengths, **named)
        x = frames.x
        if self.fault == "batch":
            x = x + 0.1 * x.mean() * (x != 0)  # a mean over the batch
        elif self.fault == "padding":
            x = x + 1e-3 * waves.mean(1)[:, None, None] * (x != 0)
        elif self.fault == "zeros":
            x = x + 0.5 if x.dim() == 3 else x
        elif self.fault == "random":
            x = x + torch.randn_like(x) * (x != 0)
        return Frames(x, frames.lengths, frames.frame_rate)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("batch", "in a batch: padding or other clips reach it"),
        ("padding", "padding"),
        ("zeros", "frames after the end of a clip must be zero"),
        ("random", "differs by|other bytes"),
    ],
)
def test_a_broken_promise_is_named(fault: str, message: str) -> None:
    model = Broken(Spectral.Config())
    model.fault, model.window_seconds, model.context_seconds = fault, 4.0, 1.0
    with pytest.raises(ContractError, match=message):
        check_encoder(model, saved=False)


def test_frame_counts_are_compared() -> None:
    class Wrong(Spectral):
        def count_frames(self, samples: int) -> int:
            return super().count_frames(samples) + 1

    with pytest.raises((ContractError, RuntimeError)):
        check_encoder(Wrong(Spectral.Config()), saved=False)


def test_submodules_are_attributes_of_zoo() -> None:
    assert zoo.audio.load is not None and zoo.testing.check_encoder is check_encoder
    with pytest.raises(AttributeError, match="nothing"):
        _ = zoo.nothing
