"""Checkpoint directories: models are saved and loaded bit for bit; errors name what does not fit."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard as HubCard
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from small import SMALL, noise, small
from torch import nn

import zoo
from zoo import checkpoint
from zoo.errors import CheckpointError
from zoo.loading import load_checkpoint
from zoo.nn.linear import quantize_linears
from zoo.recipes.mulan.config import Loss
from zoo.recipes.whisper.config import LoraConfig
from zoo.recipes.whisper.lora import add_lora


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    small("hubert-base").save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_model_is_saved_and_loaded_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = small(name)
    model.save(tmp_path / "model")
    again = zoo.load(tmp_path / "model", device="cpu")
    assert (again.name, again.family, again.config) == (name, model.family, model.config)
    assert again.fingerprint() == model.fingerprint() == checkpoint.read(tmp_path / "model").fingerprint
    assert not again.training
    assert all(p.requires_grad and not p.is_meta for p in again.parameters())
    wave = noise(1.3)
    torch.testing.assert_close(again.embed(wave, 16_000), model.embed(wave, 16_000), rtol=0, atol=0)


def test_a_loaded_model_can_be_trained_and_leaves_its_file_alone(saved: Path) -> None:
    before = (saved / "model.safetensors").read_bytes()
    model = zoo.load(saved, device="cpu")
    frames = model(noise(1.0)[None], torch.tensor([16_000]))
    frames.x.square().mean().backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert model.fingerprint() != checkpoint.read(saved).fingerprint
    assert (saved / "model.safetensors").read_bytes() == before
    model.save(saved)  # replaces the file that its weights are mapped from
    assert zoo.load(saved, device="cpu").fingerprint() == model.fingerprint()


def test_files_header_and_permissions(saved: Path) -> None:
    assert sorted(p.name for p in saved.iterdir()) == ["README.md", "config.yaml", "model.safetensors"]
    assert len({p.stat().st_mode for p in saved.iterdir()}) == 1
    header = yaml.safe_load((saved / "config.yaml").read_text())
    assert header["format"] == checkpoint.FORMAT
    assert header["zoo_version"] == zoo.__version__
    assert header["preprocessing"]["normalize"] is False
    assert header["config"]["dim"] == SMALL["hubert"]["dim"]


def test_provenance_is_kept_until_replaced(tmp_path: Path) -> None:
    model = small("hubert-base")
    checkpoint.save(model, tmp_path / "a", provenance={"recipe": "hubert/it1", "commit": "abc", "hours": [960, 1.5]})
    again = zoo.load(tmp_path / "a", device="cpu")
    assert again.provenance == {"recipe": "hubert/it1", "commit": "abc", "hours": [960, 1.5]}
    again.save(tmp_path / "b")
    assert checkpoint.read(tmp_path / "b").provenance == again.provenance
    checkpoint.save(again, tmp_path / "b", provenance={})
    assert checkpoint.read(tmp_path / "b").provenance == {}


def test_numbers_of_numpy_and_torch_are_written_as_numbers(tmp_path: Path) -> None:
    model = zoo.create("hubert-base", **SMALL["hubert"] | {"layers": np.int64(1)}, temperature=np.float64(0.25))
    provenance = {
        "rate": np.float32(0.5),
        "steps": torch.tensor(7),
        "curve": np.array([1.5, 2.0]),
        "loss": Loss.infonce,
    }
    checkpoint.save(model, tmp_path, provenance=provenance)
    again = load_checkpoint(tmp_path)
    assert (again.config.layers, again.config.temperature) == (1, 0.25)
    assert again.provenance == {"rate": 0.5, "steps": 7, "curve": [1.5, 2.0], "loss": "infonce"}


@settings(max_examples=25, deadline=None)
@given(
    vocabulary=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=8),
    temperature=st.floats(1e-6, 10.0),
)
def test_any_symbol_survives_yaml(vocabulary: list[str], temperature: float, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("model")
    symbols = ("no", "null", "1e3", "'", "~", *vocabulary)
    model = zoo.create("hubert-base", **SMALL["hubert"], vocabulary=symbols, temperature=temperature)
    model.save(folder)
    assert zoo.load(folder, device="cpu").config == model.config


def test_card_is_valid_for_the_hub(tmp_path: Path) -> None:
    model = zoo.create("hubert-base", **SMALL["hubert"], vocabulary=("<pad>", "a"))
    checkpoint.save(model, tmp_path / "ctc", provenance={"license": "Apache-2.0", "source": "hf:a/b"})
    small("hubert-base").save(tmp_path / "plain")
    ctc, plain = (HubCard.load(tmp_path / name / "README.md") for name in ("ctc", "plain"))
    assert (ctc.data.license, ctc.data.library_name) == ("apache-2.0", "audiozoo")
    assert ctc.data.pipeline_tag == "automatic-speech-recognition"
    assert "| source | hf:a/b |" in ctc.text
    assert (plain.data.license, plain.data.pipeline_tag) == ("unknown", "feature-extraction")
    assert "not recorded" in plain.text


def test_edited_preprocessing_gives_a_warning(saved: Path) -> None:
    header = yaml.safe_load((saved / "config.yaml").read_text())
    header["preprocessing"]["normalize"] = True
    (saved / "config.yaml").write_text(yaml.safe_dump(header))
    with pytest.warns(UserWarning, match="normalize True, now False"):
        model = zoo.load(saved, device="cpu")
    assert model.config.normalize is False


def test_all_tensors_that_do_not_fit_are_listed() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tensors["0.weight"] = torch.zeros(2, 3)
    tensors["surplus"] = torch.zeros(5)
    del tensors["1.bias"]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        checkpoint.assign(model, tensors, source="the file")
    message = str(caught.value)
    assert message.startswith("the file: 3 tensors do not fit")
    assert "missing     1.bias (4,)" in message
    assert "unexpected  surplus (5,)" in message
    assert "wrong shape 0.weight: (2, 3) in the file, (3, 2) in the model" in message
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_assign_refuses_integers_for_weights() -> None:
    tensors = {"weight": torch.ones(2, 3), "bias": torch.ones(2, dtype=torch.int32)}
    with pytest.raises(
        CheckpointError, match=r"not float   bias: torch\.int32 in the file, torch\.float32 in the model"
    ):
        checkpoint.assign(nn.Linear(3, 2), tensors, source="the file")
    norm = nn.BatchNorm1d(2)  # its number of batches is an integer
    checkpoint.assign(norm, norm.state_dict(), source="the file")


def test_assign_converts_copies_and_adopts() -> None:
    half = {"weight": torch.randn(3, 2).half(), "bias": torch.randn(3).half()}
    real = nn.Linear(2, 3)
    parameter = real.weight
    checkpoint.assign(real, half, source="")
    assert real.weight is parameter
    assert torch.equal(real.weight, half["weight"].float())
    full = {name: tensor.float() for name, tensor in half.items()}
    checkpoint.assign(real, full, source="", adopt=True)
    assert real.weight.data_ptr() == full["weight"].data_ptr()
    assert real.weight.requires_grad


def test_names_of_strangers_stay_text_on_the_card(tmp_path: Path) -> None:
    hostile = "x\n# Pwned <script>alert(1)</script> [a](http://x.org) | \x1b[31m\u202e\r\n- `b`"
    model = small("hubert-base")
    model.name = hostile
    model.provenance = {hostile: hostile, "license": f"mit\n---\n{hostile}"}
    model.save(tmp_path / "model")
    page = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    body = page.split("\n---\n", 1)[1]
    assert "<script" not in body and "](" not in body and "\x1b" not in page and "\u202e" not in page
    assert [line for line in body.splitlines() if line.startswith(("# ", "- "))] == [
        line for line in body.splitlines() if line.startswith("# x # Pwned")
    ]
    assert yaml.safe_load(page.split("---\n")[1])["library_name"] == "audiozoo"
    assert zoo.load(tmp_path / "model", device="cpu").name == hostile


def test_loading_does_not_import_the_decompositions(saved: Path) -> None:
    program = f"import sys, zoo; zoo.load({str(saved)!r}, device='cpu'); print('sympy' in sys.modules)"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)
    assert done.stdout == "False\n", done.stderr


def test_bfloat16_is_stored_in_bfloat16_and_loaded_in_float32(tmp_path: Path) -> None:
    model = small("hubert-base").to(torch.bfloat16)
    model.save(tmp_path / "model")
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    again = zoo.load(tmp_path / "model", device="cpu")
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert torch.equal(again.mask_embedding, model.mask_embedding.float())


def train_a_little(model: nn.Module) -> None:
    with torch.no_grad():
        model.mask_embedding.add_(1)


def test_a_model_that_was_trained_says_what_it_was_trained_from(tmp_path: Path) -> None:
    model = small("hubert-base")
    model.name, model.provenance = "first", {"license": "MIT"}
    model.save(tmp_path / "first")
    loaded = zoo.load(tmp_path / "first", device="cpu")
    fingerprint = loaded.fingerprint()
    loaded.save(tmp_path / "copy")
    assert (tmp_path / "copy" / "config.yaml").read_bytes() == (tmp_path / "first" / "config.yaml").read_bytes()
    train_a_little(loaded)
    loaded.save(tmp_path / "tuned")
    tuned = zoo.load(tmp_path / "tuned", device="cpu")
    assert tuned.name == "first-finetuned"
    assert tuned.provenance == {"license": "MIT", "fine-tuned from": f"first ({fingerprint})"}
    page = (tmp_path / "tuned" / "README.md").read_text()
    assert "# first-finetuned" in page
    assert f"|-|-|\n| fine-tuned from | first ({fingerprint}) |\n| license of the parent | MIT |" in page
    between = tuned.fingerprint()
    train_a_little(tuned)
    tuned.save(tmp_path / "twice")
    twice = zoo.load(tmp_path / "twice", device="cpu")
    assert twice.name == "first-finetuned"
    chain = f"first-finetuned ({between}), fine-tuned from first ({fingerprint})"
    assert twice.provenance["fine-tuned from"] == chain


def test_who_names_a_model_or_only_rounds_it_is_left_alone(tmp_path: Path) -> None:
    small("hubert-base").save(tmp_path / "first")
    named = zoo.load(tmp_path / "first", device="cpu")
    train_a_little(named)
    named.name = "mine"
    named.save(tmp_path / "named")
    rounded = zoo.load(tmp_path / "first", device="cpu").to(torch.bfloat16)
    rounded.save(tmp_path / "rounded")
    for name, expected in (("named", "mine"), ("rounded", named.origin.name)):
        loaded = zoo.load(tmp_path / name, device="cpu")
        assert loaded.name == expected and "fine-tuned from" not in loaded.provenance


def test_a_model_with_adapters_cannot_be_saved(tmp_path: Path) -> None:
    """As PEFT wraps a layer, and as our own low-rank updates do."""

    class LoraLayer(nn.Module):
        def __init__(self, base: nn.Module) -> None:
            super().__init__()
            self.base_layer, self.lora_A = base, nn.ModuleDict({"default": nn.Linear(4, 4)})

    model = small("hubert-base")
    feed_forward = model.transformer.blocks[0].ffn
    feed_forward.up = LoraLayer(feed_forward.up)
    with pytest.raises(CheckpointError, match=r"ffn\.up\..*merge_and_unload"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    own = small("whisper-tiny")
    add_lora(own, LoraConfig(rank=2, modules=("ffn.up",)))
    with pytest.raises(CheckpointError, match="lora_a"):
        own.save(tmp_path / "own")


def test_a_run_folder_is_loaded_or_named(tmp_path: Path) -> None:
    model = small("hubert-base")
    for name in ("model", "best"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("train: {steps: 4}\n")
        (tmp_path / name / "checkpoints").mkdir()
        with pytest.raises(CheckpointError, match="a run folder that has no model yet"):
            zoo.load(tmp_path / name, device="cpu")
        model.save(tmp_path / name / name)
        assert zoo.load(tmp_path / name, device="cpu").fingerprint() == model.fingerprint()


def test_int8_cannot_be_saved(tmp_path: Path) -> None:
    model = small("hubert-base")
    quantize_linears(model)
    with pytest.raises(CheckpointError, match="int8"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_config_record_equals_the_dataclass(saved: Path) -> None:
    assert checkpoint.read(saved).config == {
        k: list(v) if isinstance(v, tuple) else v for k, v in asdict(small("hubert-base").config).items()
    }


def test_the_page_of_a_changed_hubert_does_not_promise_units(tmp_path: Path) -> None:
    model = zoo.load("hubert", device="cpu")
    model.save(tmp_path / "same")
    assert "model.units(" in (tmp_path / "same" / "README.md").read_text()
    with torch.no_grad():
        next(model.parameters()).mul_(1.01)
    with pytest.warns(UserWarning, match=r"saved without the quantizer.*: the weights have changed"):
        model.save(tmp_path / "changed")
    assert "model.units(" not in (tmp_path / "changed" / "README.md").read_text()
