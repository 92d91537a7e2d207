"""Building models for weights from a file: no random initialization, and no larger than the weights."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from torch import Tensor, nn

from zoo import registry
from zoo.errors import CheckpointError
from zoo.models.hubert.model import HuBERT, HubertConfig
from zoo.nn.building import uninitialized


def test_uninitialized_applies_only_to_parameters_and_this_thread() -> None:
    class Filter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("window", torch.empty(8).fill_(0.5), persistent=False)
            self.weight = nn.Parameter(torch.full((8, 1), 7.0), requires_grad=False)
            self.frozen = nn.Parameter(torch.zeros(2)).requires_grad_(False)
            for fill in (nn.init.normal_, nn.init.uniform_, nn.init.zeros_, nn.init.kaiming_normal_, Tensor.normal_):
                fill(self.weight)
            nn.init.constant_(tensor=self.weight, val=3.0)

    in_other_thread: list[Filter] = []
    with uninitialized():
        thread = threading.Thread(target=lambda: in_other_thread.append(Filter()))
        thread.start()
        thread.join()
        inside = Filter()
    assert torch.equal(inside.weight, torch.full((8, 1), 7.0))
    assert torch.equal(inside.window, torch.full((8,), 0.5))
    assert not inside.frozen.requires_grad
    assert torch.equal(in_other_thread[0].weight, torch.full((8, 1), 3.0))
    assert torch.equal(Filter().weight, torch.full((8, 1), 3.0))


@pytest.mark.parametrize("sizes", [{"mels": 10**30}, {"mels": 10**5}, {"sample_rate": 10**12}], ids=str)
@pytest.mark.parametrize("family", ["hubert", "mulan"])
def test_spectrograms_of_no_sense_are_refused(family: str, sizes: dict[str, int]) -> None:
    frontend = {"frontend": "logmel"} if family == "hubert" else {}
    with pytest.raises(CheckpointError, match=r"config is not valid: .*sample_rate .* mels"):
        registry.restore(family, frontend | sizes, {}, name="bomb", provenance={}, source="bomb/config.yaml")


@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        ("hubert", {"layers": 10**9, "dim": 16, "heads": 2, "ffn_dim": 8}),
        ("hubert", {"position_kernel": 10**9}),
        ("hubert", {"units": (10**9,)}),
        ("whisper", {"encoder_layers": 10**9, "dim": 8, "heads": 2, "decoder_heads": 2}),
        ("whisper", {"decoder_layers": 10**9, "dim": 8, "heads": 2, "decoder_heads": 2}),
        ("whisper", {"audio_ctx": 10**8, "dim": 8, "heads": 2, "decoder_heads": 2}),
        ("whisper", {"text_ctx": 10**8}),
        ("whisper", {"vocab_size": 10**9}),
        ("mulan", {"text_layers": 10**9, "text_dim": 8, "text_heads": 2, "text_ffn_dim": 8}),
        ("mulan", {"resnet_blocks": (10**9,), "resnet_width": 8}),
        ("mulan", {"tower": "ast", "audio_layers": 10**9, "audio_dim": 8, "audio_heads": 2, "audio_ffn_dim": 8}),
        ("mulan", {"window_seconds": 3600.0, "tower": "ast"}),
    ],
    ids=str,
)
def test_sizes_without_weights_are_refused_quickly(family: str, sizes: dict[str, object]) -> None:
    begun = time.monotonic()
    with pytest.raises(CheckpointError, match="far larger model"):
        registry.restore(family, sizes, {}, name="bomb", provenance={}, source="bomb/config.yaml")
    assert time.monotonic() - begun < 10


def test_the_bound_leaves_room_for_whatever_has_its_weights() -> None:
    config = {
        "layers": 2,
        "dim": 16,
        "heads": 2,
        "ffn_dim": 16,
        "conv_dim": 8,
        "position_kernel": 4,
        "position_groups": 2,
    }
    weights = HuBERT(HubertConfig(**config)).state_dict()
    model = registry.restore("hubert", config, weights, name="", provenance={}, source="")
    assert torch.equal(model.mask_embedding, weights["mask_embedding"])
