"""MuLan's audio towers: parity with torchvision and transformers, padding, gradients, SpecAugment."""

from __future__ import annotations

import pytest
import torch
from foreign_towers import ast_model, randomize_vectors, resnet_model, spectrograms
from torch import Tensor, nn

from zoo.checkpoint import assign
from zoo.errors import ConfigError
from zoo.importers.towers import ast_tensors, resnet_tensors
from zoo.models.mulan.audio import LEVEL, SPREAD, ASTTower, ResNetTower, SpecAugment
from zoo.nn.conv_norm import ConvNorm

SMALL_AST = {"mels": 36, "dim": 32, "layers": 2, "heads": 4, "ffn_dim": 64, "frames": 76}


def resnet(**options: object) -> ResNetTower:
    torch.manual_seed(0)
    return randomize_vectors(ResNetTower(**({"mels": 32, "width": 8, "blocks": (1, 2, 1, 1), "frames": 100} | options)))


def ast(**options: object) -> ASTTower:
    torch.manual_seed(0)
    return randomize_vectors(ASTTower(**(SMALL_AST | options)))


SMALL = {"resnet": resnet, "ast": ast}


def difference(actual: Tensor, expected: Tensor) -> float:
    return (actual - expected).abs().max().item()


@pytest.mark.parametrize(("blocks", "frames", "mels"), [((1, 2, 1, 1), 100, 32), ((3, 4, 6, 3), 200, 64)])
@pytest.mark.parametrize("gradients", [False, True])
def test_resnet_with_its_stride_is_torchvision(
    blocks: tuple[int, ...], frames: int, mels: int, gradients: bool
) -> None:
    theirs = resnet_model(blocks)
    tower = ResNetTower(mels, blocks=blocks, stem_stride=(2, 2), frames=frames, level=0.0, spread=1.0).eval()
    assign(tower, resnet_tensors(theirs.state_dict()), source="torchvision")
    theirs.fc = nn.Identity()
    mel = spectrograms(2, frames, mels)
    with torch.set_grad_enabled(gradients):
        actual = tower(mel, torch.tensor([frames, frames]))
        expected = theirs(mel[:, None].expand(-1, 3, -1, -1))
    assert actual.shape == (2, tower.dim) == (2, 2048)
    assert expected.std() > 0.01
    assert difference(actual, expected) <= 1e-4


def test_resnet_without_its_stride_is_torchvision_without_it() -> None:
    theirs = resnet_model((1, 1, 1, 1))
    theirs.conv1.stride = (1, 1)
    tower = ResNetTower(32, blocks=(1, 1, 1, 1), frames=100, level=0.0, spread=1.0).eval()
    assign(tower, resnet_tensors(theirs.state_dict()), source="torchvision")
    theirs.fc = nn.Identity()
    mel = spectrograms(2, 100, 32)
    with torch.no_grad():
        actual, expected = tower(mel, torch.tensor([100, 100])), theirs(mel[:, None].expand(-1, 3, -1, -1))
    assert difference(actual, expected) <= 1e-4


def test_full_sizes() -> None:
    with torch.device("meta"):
        sizes = [sum(p.numel() for p in tower.parameters()) for tower in (ResNetTower(), ASTTower())]
    assert sizes[0] == 25_557_032 - 2_049_000 - 2 * 3136, "ResNet-50 without its classifier and two colors"
    assert sizes[1] == 86_187_264 - 2 * 12 * 768, "ASTModel, two steps of positions fewer"


@pytest.mark.slow
def test_full_ast_is_transformers() -> None:
    full = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    theirs = ast_model(**full, num_mel_bins=128, max_length=1024)
    tower = ASTTower(frames=1024, level=0.0, spread=1.0).eval()
    assign(tower, ast_tensors(theirs.state_dict(), frames=1024), source="transformers")
    mel = spectrograms(1, 1024, 128)
    with torch.no_grad():
        assert difference(tower(mel, torch.tensor([1024])), theirs(mel).pooler_output) <= 1e-4


@pytest.mark.parametrize("gradients", [False, True])
def test_small_ast_is_transformers(gradients: bool) -> None:
    theirs = ast_model()
    tower = ast(level=0.0, spread=1.0)
    assign(tower, ast_tensors(theirs.state_dict(), mels=36, frames=76), source="transformers")
    mel = spectrograms(3, 76, 36)
    with torch.set_grad_enabled(gradients):
        actual, expected = tower(mel, torch.full((3,), 76)), theirs(mel).pooler_output
    assert expected.std() > 0.1
    assert difference(actual, expected) <= 1e-4


def test_towers_standardize_by_the_stated_constants() -> None:
    tower, plain = ast(), ast(level=0.0, spread=1.0)
    mel, lengths = spectrograms(2, 76, 36), torch.tensor([76, 40])
    with torch.no_grad():
        assert difference(tower(mel * SPREAD + LEVEL, lengths), plain(mel, lengths)) <= 1e-5


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_padding_and_neighbors_do_not_matter(name: str, dtype: torch.dtype) -> None:
    tower = SMALL[name]().to(dtype)
    lengths = torch.tensor([tower.frames, tower.frames // 2 + 3, 9, 1])
    mel = spectrograms(4, tower.frames, tower.mels) * SPREAD + LEVEL
    dirty = mel.clone()
    for row, n in zip(dirty, lengths.tolist(), strict=True):
        row[n:] = torch.nan
    with torch.no_grad():
        clean = tower(mel, lengths).float()
        assert torch.equal(tower(dirty, lengths).float(), clean)
        single = torch.cat([tower(dirty[i : i + 1], lengths[i : i + 1]) for i in range(4)]).float()
    scale = 1e-5 if dtype == torch.float32 else 2e-2
    assert difference(single, clean) <= scale * clean.abs().max()
    assert torch.isfinite(clean).all()


@pytest.mark.parametrize("name", SMALL)
def test_no_gradient_reaches_padding_or_neighbors(name: str) -> None:
    tower = SMALL[name]()
    mel = (spectrograms(2, tower.frames, tower.mels) * SPREAD + LEVEL).requires_grad_()
    tower(mel, torch.tensor([30, tower.frames]))[0].square().sum().backward()
    assert mel.grad is not None
    assert mel.grad[0, 30:].abs().max() == 0 and mel.grad[1].abs().max() == 0
    assert (mel.grad[0, :30].abs().amax(1) > 0).all(), "every real frame has a gradient"


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_learns(name: str) -> None:
    tower = SMALL[name]().train()
    mel = spectrograms(4, tower.frames, tower.mels)
    tower(mel, torch.full((4,), tower.frames)).square().sum().backward()
    untrained = [n for n, p in tower.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not untrained


def test_short_clip_pools_over_its_own_positions_only() -> None:
    """One more position would include values that depend only on padding."""
    tower = resnet()
    maps: list[Tensor] = []
    tower.stages[-1][-1].register_forward_hook(lambda module, args, out: maps.append(out[0]))
    lengths = torch.tensor([100, 33, 32, 16, 1])
    with torch.no_grad():
        actual = tower(spectrograms(5, 100, 32), lengths)
    for row, image, count in zip(actual, maps[0], [7, 3, 2, 1, 1], strict=True):
        torch.testing.assert_close(row, image[:, :count].mean((1, 2)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_other_shapes_are_refused(name: str) -> None:
    tower = SMALL[name]()
    for shape in ((2, tower.mels, tower.frames), (tower.frames, tower.mels), (2, tower.frames - 1, tower.mels)):
        with pytest.raises(ConfigError, match=rf"{tower.frames} frames, {tower.mels} mels"):
            tower(torch.zeros(shape), torch.tensor([1, 1]))


def test_patch_must_fit() -> None:
    with pytest.raises(ConfigError, match="patch 16 does not fit into 76 frames of 12 mels"):
        ASTTower(12, 32, 1, 4, 64, frames=76)


def test_bfloat16_inference_stays_close() -> None:
    for make, floor in ((resnet, 0.999), (ast, 0.999)):
        tower = make()
        mel, lengths = spectrograms(3, tower.frames, tower.mels) * SPREAD + LEVEL, torch.full((3,), tower.frames)
        with torch.no_grad():
            exact, rough = tower(mel, lengths), tower.bfloat16()(mel, lengths)
        assert rough.dtype == torch.bfloat16
        assert torch.cosine_similarity(exact, rough.float(), dim=-1).min() > floor


def test_new_resnets_start_with_zero_residual_branches() -> None:
    torch.manual_seed(0)
    tower = ResNetTower(32, 8, (1, 1), frames=100)
    zero = [name for name, m in tower.named_modules() if isinstance(m, ConvNorm) and not m.norm.weight.any()]
    assert zero == ["stages.0.0.expand", "stages.1.0.expand"]


@pytest.mark.parametrize(("dim", "std"), [(768, 0.02), (192, 0.04)])
def test_narrow_asts_start_with_larger_weights(dim: int, std: float) -> None:
    tower = ASTTower(128, dim, 1, 4, 64)
    for name in ("embed.weight", "tokens", "position"):
        assert float(tower.get_parameter(name).detach().std()) == pytest.approx(std, rel=0.1), name


def test_statistics_of_training_leave_padding_out() -> None:
    """Padded clips give the same running statistics as the same clips without padding."""
    short = ResNetTower(32, 8, (1, 1), frames=64)
    padded = ResNetTower(32, 8, (1, 1), frames=100)
    padded.load_state_dict(short.state_dict())
    mel = spectrograms(4, 64, 32) * SPREAD + LEVEL
    with torch.no_grad():
        short.train().stem(short.standardize(mel, torch.full((4,), 64))[:, None])
        filled = nn.functional.pad(mel, (0, 0, 0, 36), value=50.0)
        padded.train()(filled, torch.full((4,), 64))
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(
            getattr(padded.stem.norm, name), getattr(short.stem.norm, name), atol=1e-5, rtol=1e-4
        )
    assert padded.stages[1][0].expand.norm.num_batches_tracked == 1


def test_specaugment_acts_in_training_only_and_within_its_limits() -> None:
    torch.manual_seed(0)
    augment = SpecAugment(time_masks=2, time_width=10, freq_masks=1, freq_width=5)
    mel, lengths = torch.randn(512, 120, 40), torch.full((512,), 80)
    assert augment.eval()(mel, lengths) is mel
    before = mel.clone()
    changed = augment.train()(mel, lengths) != mel  # (B, T, N)
    assert torch.equal(mel, before)
    rows, columns = changed.all(2), changed.all(1)
    assert rows[:, 80:].sum() == 0, "padding is unchanged"
    assert 0 < rows.sum(1).max() <= 20 and rows.sum(1).unique().numel() > 5
    blanked = changed[:, 100]  # in a padding frame only bands are masked
    assert 0 < blanked.sum(1).max() <= 5 and blanked.any(0).all(), "every band is reached"
    assert torch.equal(changed, rows[:, :, None] | columns[:, None, :])
    assert rows[:, :80].any(0).float().mean() > 0.95, "nearly every frame is reached"


def test_specaugment_fills_with_the_mean_of_real_frames() -> None:
    torch.manual_seed(0)
    augment = SpecAugment(time_masks=1, time_width=30, freq_masks=0, freq_width=0).train()
    mel, lengths = torch.randn(8, 50, 10), torch.tensor([20] * 8)
    mel[:, 20:] = 1000
    out = augment(mel, lengths)
    for row, source in zip(out, mel, strict=True):
        changed = (row != source).all(1)
        torch.testing.assert_close(row[changed], source[:20].mean().expand(int(changed.sum()), 10))
    assert torch.equal(SpecAugment(0, 0, 0, 0).train()(mel), mel)
