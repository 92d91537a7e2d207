"""Checkpoint directories: what is saved comes back bit for bit; what does not fit is refused by name."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
from zoo.nn.linear import quantise_linears


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    small("hubert-base").save(tmp_path / "model")
    return tmp_path / "model"


def edit(directory: Path, **changes: Any) -> None:
    """Change top-level fields of config.yaml; a value of None removes the field."""
    header = yaml.safe_load((directory / "config.yaml").read_text()) | changes
    header = {key: value for key, value in header.items() if value is not None}
    (directory / "config.yaml").write_text(yaml.safe_dump(header))


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_model_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
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
    model.save(saved)  # over the very file that its weights were mapped from
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
    checkpoint.save(model, tmp_path / "ctc", provenance={"licence": "Apache-2.0", "source": "hf:a/b"})
    small("hubert-base").save(tmp_path / "plain")
    ctc, plain = (HubCard.load(tmp_path / name / "README.md") for name in ("ctc", "plain"))
    assert (ctc.data.license, ctc.data.library_name) == ("apache-2.0", "audiozoo")
    assert ctc.data.pipeline_tag == "automatic-speech-recognition"
    assert "| source | hf:a/b |" in ctc.text
    assert (plain.data.license, plain.data.pipeline_tag) == ("unknown", "feature-extraction")
    assert "Nothing is recorded" in plain.text


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors"])
def test_missing_file(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: no such file"):
        checkpoint.read(saved)


def test_truncated_weights(saved: Path) -> None:
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged, or not a safetensors file"):
        zoo.load(saved)


def test_one_flipped_bit(saved: Path) -> None:
    weights = saved / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CheckpointError, match="SHA-256"):
        zoo.load(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 99}, "checkpoint format 99.*reads format 1"),
        ({"fingerprint": None}, r"missing fields \['fingerprint'\]"),
        ({"colour": "red"}, r"unknown fields \['colour'\]"),
        ({"config": {"layres": 3}}, "no option 'layres'; near: layers"),
        ({"config": {"layers": "three"}}, "describes no model"),
        ({"config": {"heads": 0}}, "describes no model"),
        ({"config": [1]}, "must be a mapping"),
        ({"family": "herbert"}, "herbert"),
        ({"config": {}}, "tensors do not fit"),
    ],
)
def test_header_that_does_not_fit(saved: Path, changes: dict[str, Any], message: str) -> None:
    edit(saved, **changes)
    with pytest.raises(CheckpointError, match=message) as caught:
        zoo.load(saved, device="cpu")
    assert str(saved) in str(caught.value)


@pytest.mark.parametrize("text", ["", "a: [", "just text", "- 1", "a: 1", "\x00", "!!python/object/apply:os.getcwd []"])
def test_config_that_is_not_ours(saved: Path, text: str) -> None:
    (saved / "config.yaml").write_text(text)
    assert not checkpoint.is_checkpoint(saved)
    with pytest.raises(CheckpointError, match=r"config\.yaml"):
        checkpoint.read(saved)


def test_edited_preprocessing_is_pointed_out(saved: Path) -> None:
    edit(saved, preprocessing={"normalize": True, "sample_rate": 16_000})
    with pytest.warns(UserWarning, match="normalize True, now False"):
        model = zoo.load(saved, device="cpu")
    assert model.config.normalize is False


def test_every_misfit_is_listed_at_once() -> None:
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
    assert "misshapen   0.weight: (2, 3) in the file, (3, 2) in the model" in message
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_assign_converts_copies_and_takes_over() -> None:
    half = {"weight": torch.randn(3, 2).half(), "bias": torch.randn(3).half()}
    real = nn.Linear(2, 3)
    parameter = real.weight
    checkpoint.assign(real, half, source="")
    assert real.weight is parameter
    assert torch.equal(real.weight, half["weight"].float())
    meta = nn.Linear(2, 3, device="meta")
    full = {name: tensor.float() for name, tensor in half.items()}
    checkpoint.assign(meta, full, source="")
    assert meta.weight.data_ptr() == full["weight"].data_ptr()
    assert meta.weight.requires_grad


def test_building_without_weights_keeps_buffers_and_spares_other_threads() -> None:
    class Filter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("window", torch.hann_window(8), persistent=False)
            self.linear = nn.Linear(2, 2)

    elsewhere: list[nn.Linear] = []
    with checkpoint._without_weights():
        thread = threading.Thread(target=lambda: elsewhere.append(nn.Linear(2, 2)))
        thread.start()
        thread.join()
        inside = Filter()
    assert inside.linear.weight.is_meta
    assert torch.equal(inside.window, torch.hann_window(8))
    assert not elsewhere[0].weight.is_meta
    assert not nn.Linear(2, 2).weight.is_meta


def test_bfloat16_is_stored_as_such_and_loaded_in_float32(tmp_path: Path) -> None:
    model = small("hubert-base").to(torch.bfloat16)
    model.save(tmp_path / "model")
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    again = zoo.load(tmp_path / "model", device="cpu")
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert torch.equal(again.mask_embedding, model.mask_embedding.float())


def test_int8_is_not_saved(tmp_path: Path) -> None:
    model = small("hubert-base")
    quantise_linears(model)
    with pytest.raises(CheckpointError, match="int8"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_is_not_a_checkpoint_is_not_replaced(saved: Path, tmp_path: Path) -> None:
    model = small("hubert-base", seed=1)
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"notes\.txt"):
        model.save(saved)
    assert (saved / "notes.txt").read_text() == "mine"
    (saved / "notes.txt").unlink()
    (saved / "state").mkdir()
    model.save(saved)
    assert zoo.load(saved, device="cpu").fingerprint() == model.fingerprint()

    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "README.md").write_text("# Not a model")
    with pytest.raises(CheckpointError, match="not a zoo checkpoint"):
        model.save(foreign)
    (tmp_path / "empty").mkdir()
    model.save(tmp_path / "empty")


def test_a_failing_save_leaves_the_old_checkpoint(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = checkpoint.read(saved).fingerprint

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        small("hubert-base", seed=1).save(saved)
    assert checkpoint.read(saved).fingerprint == before
    assert [p.name for p in saved.parent.iterdir()] == ["model"]


def test_killed_while_saving_leaves_a_whole_checkpoint(saved: Path) -> None:
    program = (
        "import sys, zoo, torch\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from small import small\n"
        "models = [small('hubert-base', seed=k) for k in (0, 1)]\n"
        "print('ready', flush=True)\n"
        f"while True:\n    [m.save({str(saved)!r}) for m in models]\n"
    )
    known = {small("hubert-base", seed=k).fingerprint() for k in (0, 1)}
    for pause in (0.05, 0.083, 0.121):
        child = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(pause)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert checkpoint.load(saved).fingerprint() in known


def test_config_record_equals_the_dataclass(saved: Path) -> None:
    found = checkpoint.read(saved)
    assert found.config == {
        k: list(v) if isinstance(v, tuple) else v for k, v in asdict(small("hubert-base").config).items()
    }
