"""Weights of torchvision's ResNet-50 and transformers' AST under the names of our towers."""

from __future__ import annotations

import pytest
import torch
from foreign_towers import ast_model, resnet_model, spectrograms
from transformers import ASTForAudioClassification

from zoo.checkpoint import assign
from zoo.errors import CheckpointError
from zoo.importers.towers import ast_tensors, resnet_tensors
from zoo.models.mulan.audio import ASTTower, ResNetTower

SMALL_AST = {"mels": 36, "dim": 32, "layers": 2, "heads": 4, "ffn_dim": 64, "frames": 76}


def test_color_channels_of_the_first_convolution_are_summed() -> None:
    theirs = resnet_model((1, 1, 1, 1))
    tensors = resnet_tensors(theirs.state_dict())
    image = torch.randn(2, 1, 30, 20)
    expected = theirs.conv1(image.expand(-1, 3, -1, -1))
    found = torch.nn.functional.conv2d(image, tensors["stem.conv.weight"], stride=2, padding=3)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_foreign_and_missing_resnet_tensors_are_listed() -> None:
    weights = resnet_model((1, 1, 1, 1)).state_dict()
    with pytest.raises(CheckpointError, match=r"file: 1 tensors have no place(.|\n)*layer1\.0\.se\.fc1\.weight \(2,\)"):
        resnet_tensors({**weights, "layer1.0.se.fc1.weight": torch.zeros(2)}, source="file")
    del weights["layer2.0.bn2.running_var"]
    tower = ResNetTower(blocks=(1, 1, 1, 1))
    with pytest.raises(CheckpointError, match=r"missing +stages\.1\.0\.spatial\.norm\.running_var"):
        assign(tower, resnet_tensors(weights), source="file")


def test_names_of_ast_files_and_of_transformers_4() -> None:
    """transformers 5 renames what it reads; the files keep the names that version 4 has in memory too."""
    weights = ast_model().state_dict()
    longer = {
        "layers.": "encoder.layer.",
        "attention.q_proj": "attention.attention.query",
        "attention.k_proj": "attention.attention.key",
        "attention.v_proj": "attention.attention.value",
        "attention.o_proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    renamed = {}
    for name, tensor in weights.items():
        for short, long in longer.items():
            name = name.replace(short, long)
        renamed[name] = tensor
    new, old = (ast_tensors(w, mels=36, frames=76) for w in (weights, renamed))
    assert new.keys() == old.keys() == ASTTower(**SMALL_AST).state_dict().keys()
    assert all(torch.equal(new[name], old[name]) for name in new)


def test_ast_classifiers_leave_their_head_behind() -> None:
    base = ast_model()
    full = ASTForAudioClassification(base.config).state_dict()
    assert any(name.startswith("classifier.") for name in full)
    tower = ASTTower(**SMALL_AST)
    assign(tower, ast_tensors(full, mels=36, frames=76), source="file")


def test_shorter_tower_takes_the_positions_of_the_middle() -> None:
    theirs = ast_model()  # 7 steps of 3 bands
    theirs_positions = theirs.embeddings.position_embeddings.detach()[0]
    found = ast_tensors(theirs.state_dict(), mels=36, frames=46)["position"]  # 4 steps
    assert found.shape == (2 + 4 * 3, 32)
    assert torch.equal(found[:2], theirs_positions[:2])
    for step in range(4):
        for band in range(3):
            assert torch.equal(found[2 + step * 3 + band], theirs_positions[2 + band * 7 + step + 1])


@pytest.mark.parametrize(("mels", "frames"), [(36, 86), (46, 76)])
def test_positions_that_do_not_fit_are_refused(mels: int, frames: int) -> None:
    with pytest.raises(CheckpointError, match=r"file: 21 positions of patches; a tower of \d bands and \d steps"):
        ast_tensors(ast_model().state_dict(), mels=mels, frames=frames, source="file")


def test_other_ast_shaped_files_are_refused() -> None:
    weights = ast_model().state_dict()
    with pytest.raises(CheckpointError, match=r"unexpected +pooler\.dense\.weight \(1,\)"):
        ast_tensors({**weights, "pooler.dense.weight": torch.zeros(1)}, mels=36, frames=76)
    del weights["embeddings.distillation_token"]
    with pytest.raises(CheckpointError, match="no distillation_token"):
        ast_tensors(weights, mels=36, frames=76)


def test_imported_ast_computes_the_same() -> None:
    theirs = ast_model()
    tower = ASTTower(**SMALL_AST, level=0.0, spread=1.0).eval()
    assign(tower, ast_tensors(theirs.state_dict(), mels=36, frames=76), source="file")
    mel = spectrograms(3, 76, 36)
    with torch.no_grad():
        expected = theirs(mel).pooler_output
        torch.testing.assert_close(tower(mel, torch.full((3,), 76)), expected, atol=1e-4, rtol=1e-4)
