"""A MuLan from the published weights of its towers: files and directories as the other libraries write them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from foreign_towers import ast_model, resnet_model
from safetensors.torch import load_file, save_file
from small import noise
from transformers import BertConfig, BertModel

import zoo
from zoo.errors import CheckpointError, ConfigError
from zoo.importers.mulan import from_towers

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "calm", "solo", "piano", "fast", "drums", "##s", "a", "##b"]
SMALL_RESNET = {"resnet_width": 8, "resnet_blocks": (1, 1, 1, 1)}
TEXTS = ["calm solo piano", "fast drums"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=40,
    )  # fmt: skip
    BertModel(config).eval().save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return folder


@pytest.fixture(scope="module")
def ast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ast")
    ast_model(max_length=1024).save_pretrained(folder)
    return folder


def test_towers_give_what_they_gave_at_home(ast: Path, bert: Path) -> None:
    model = from_towers(ast, bert, dim=16)
    theirs = BertModel.from_pretrained(bert).eval()
    ids, lengths = model.tokenizer.encode(TEXTS, 40)
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    with torch.no_grad():
        expected = theirs(ids, attention_mask=mask).last_hidden_state[:, 0]
        torch.testing.assert_close(model.text(ids, lengths), expected, atol=1e-5, rtol=1e-5)
    assert model.config.tower == "ast" and model.config.mels == 36 and model.config.audio_dim == 32
    assert model.embed_text(TEXTS).shape == (2, 16)
    assert model.embed(noise(3), 16_000).shape == (16,)


def test_torchvision_files_bare_and_under_state_dict(tmp_path: Path) -> None:
    theirs = resnet_model((3, 4, 6, 3))
    torch.save(theirs.state_dict(), tmp_path / "bare.pth")
    torch.save({"state_dict": theirs.state_dict(), "epoch": 3}, tmp_path / "wrapped.pt")
    save_file(theirs.state_dict(), tmp_path / "resnet50.safetensors")
    models = [from_towers(tmp_path / n, text_layers=1) for n in ("bare.pth", "wrapped.pt", "resnet50.safetensors")]
    first = models[0]
    assert first.config.resnet_blocks == (3, 4, 6, 3) and first.config.resnet_stem_stride == 1
    torch.testing.assert_close(first.audio.stages[3][2].expand.conv.weight, theirs.layer4[2].conv3.weight)
    assert len({model.fingerprint() for model in models}) == 1, "the fresh parts depend on the seed alone"
    assert from_towers(tmp_path / "bare.pth", text_layers=1, seed=1).fingerprint() != first.fingerprint()


@pytest.mark.parametrize("name", ["num_hidden_layers", "vocab_size", "hidden_size"])
def test_towers_far_larger_than_their_weights_are_refused(ast: Path, bert: Path, tmp_path: Path, name: str) -> None:
    for folder in (ast, bert):
        settings = json.loads((folder / "config.json").read_text())
        if name not in settings:
            continue
        shutil.copytree(folder, tmp_path / folder.name)
        (tmp_path / folder.name / "config.json").write_text(json.dumps(settings | {name: 10**9}))
        with pytest.raises(CheckpointError, match="larger model than these weights"):
            from_towers(**{"audio" if folder == ast else "text": tmp_path / folder.name})


def test_saved_and_loaded(ast: Path, bert: Path, tmp_path: Path) -> None:
    model = from_towers(ast, bert, text_length=10)
    model.save(tmp_path / "mulan")
    again = zoo.load(tmp_path / "mulan")
    assert again.fingerprint() == model.fingerprint()
    assert again.provenance["text_tower"] == str(bert)
    torch.testing.assert_close(again.embed_text(TEXTS), model.embed_text(TEXTS))


def test_a_tower_left_out_is_fresh(bert: Path) -> None:
    model = from_towers(text=bert, **SMALL_RESNET)
    assert model.embed(noise(2), 16_000).shape == (128,)


def test_what_cannot_be_is_refused(ast: Path, bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mels=64: the weights were made for 36"):
        from_towers(ast, mels=64)
    with pytest.raises(CheckpointError, match="no such file"):
        from_towers(tmp_path / "nothing.pth")
    with pytest.raises(CheckpointError, match="neither a directory of transformers' ASTModel nor a ResNet"):
        from_towers(bert)
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="config tells the heads"):
        from_towers(text=tmp_path / "a.safetensors")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(CheckpointError, match="mapping from names to tensors"):
        from_towers(tmp_path / "empty.pt")


def test_home_is_written_as_a_tilde(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(bert.parent))
    assert from_towers(text=f"~/{bert.name}", **SMALL_RESNET).config.text_dim == 32


def test_files_from_before_batches_were_counted(tmp_path: Path) -> None:
    theirs = resnet_model((3, 4, 6, 3)).state_dict()
    save_file({name: t for name, t in theirs.items() if "num_batches" not in name}, tmp_path / "old.safetensors")
    model = from_towers(tmp_path / "old.safetensors", text_layers=1)
    assert torch.equal(model.audio.state_dict()["stem.norm.running_var"], theirs["bn1.running_var"])


@pytest.mark.parametrize("name", ["projection.weight", "cls_token", "position_embeddings"])
def test_tensors_of_impossible_shapes_name_their_source(ast: Path, tmp_path: Path, name: str) -> None:
    tensors = load_file(ast / "model.safetensors")
    (found,) = (key for key in tensors if key.endswith(name))
    save_file(tensors | {found: tensors[found].flatten()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((ast / "config.json").read_bytes())
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path))):
        from_towers(tmp_path, text_layers=1)
