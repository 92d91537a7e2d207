"""HuBERT: heads, masked frames, layers, training mode."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from small import SMALL, noise, small

import zoo
from zoo.errors import ConfigError
from zoo.models.hubert.heads import UnitHead


def test_unit_head_is_cosine_over_temperature() -> None:
    torch.manual_seed(0)
    head = zoo.create("hubert-base", **SMALL["hubert"], units=[10, 7], unit_dim=6).head
    x = torch.randn(2, 5, 48)
    first, second = head(x)
    assert first.shape == (2, 5, 10) and second.shape == (2, 5, 7)
    projected = head.projection(x)
    expected = F.cosine_similarity(projected[..., None, 6:], head.codes[10:], dim=-1) / 0.1
    torch.testing.assert_close(second, expected)


def test_ctc_logits_follow_the_vocabulary() -> None:
    torch.manual_seed(0)
    model = zoo.create("hubert-base", **SMALL["hubert"], vocabulary=["<blank>", " ", "a", "b"])
    clips = [noise(1.0, 1), noise(0.5, 2)]
    frames = model.logits(clips, 16_000)
    assert frames.x.shape == (2, model.count_frames(16_000), 4)
    assert frames.x[1, int(frames.lengths[1]) :].abs().sum() == 0
    with torch.no_grad():
        single = model.ctc(model.encode(clips[1], 16_000).x)
    torch.testing.assert_close(frames.x[1, : single.shape[1]], single[0], atol=1e-5, rtol=1e-5)
    with pytest.raises(ConfigError, match="no CTC head"):
        small("hubert-base").logits(clips, 16_000)


def test_masked_frames_do_not_depend_on_their_features() -> None:
    model = small("hubert-base")
    wave, lengths = noise(1.0)[None], torch.tensor([16_000])
    all_masked = torch.ones(1, model.count_frames(16_000), dtype=torch.bool)
    a = model(wave, lengths, masked=all_masked).x
    b = model(noise(1.0, 5)[None], lengths, masked=all_masked).x
    assert torch.equal(a, b), "the audio has no effect if every frame is masked"
    partly = all_masked.clone()
    partly[:, 20:] = False
    assert not torch.allclose(model(wave, lengths, masked=partly).x, a)


def test_layers_after_the_requested_one_do_not_run() -> None:
    model = small("hubert-large")
    model.transformer.blocks[1].register_forward_hook(lambda *_: pytest.fail("block 2 ran"))
    model.encode(noise(0.5), 16_000, layer=1)


def test_training_mode_drops_layers_and_units() -> None:
    model = small("hubert-base").train()
    wave, lengths = noise(1.0)[None], torch.tensor([16_000])
    torch.manual_seed(1)
    a = model(wave, lengths).x
    assert not torch.allclose(a, model(wave, lengths).x)
    model.transformer.layerdrop = 1.0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    both = model(wave, lengths, layer=[0, model.num_layers]).x
    assert torch.equal(both[0], both[1]), "with every layer dropped the input passes through"


@pytest.mark.parametrize(
    "override",
    [{"frontend": "cnn"}, {"conv_norm": "batch"}, {"frame_ms": 40}, {"heads": 5}, {"position_groups": 7}],
)
def test_impossible_configurations_are_refused(override: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(override)))):
        zoo.create("hubert-base", **override)


@pytest.mark.parametrize("name", ["hubert-base", "hubert-large", "hubert-fast"])
def test_every_parameter_learns(name: str) -> None:
    model = zoo.create(name, **SMALL["hubert"], units=[5], layerdrop=0.0).train()
    wave, lengths = torch.stack([noise(0.6, 1), noise(0.6, 2)]), torch.tensor([9_600, 7_000])
    masked = torch.zeros(2, model.count_frames(9_600), dtype=torch.bool)
    masked[:, 2:5] = True
    frames = model(wave, lengths, masked=masked)
    model.head(frames.x)[0].logsumexp(-1).sum().backward()
    untrained = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert untrained == []


def test_autocast_keeps_cosines_of_units_in_float32() -> None:
    """Rounded to bfloat16, the best two of 500 units are often equal."""
    torch.manual_seed(0)
    head = UnitHead(16, 8, (500,), 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(torch.randn(50, 16))[0]
    assert logits.dtype == torch.float32
    best = logits.topk(2).values
    assert (best[:, 0] > best[:, 1]).all()
