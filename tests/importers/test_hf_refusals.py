"""Hugging Face directories that cannot be read: refused by the name of the field, file or tensor."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_hubert import HubertForCTC, hubert, saved
from safetensors.torch import load_file, save_file
from torch import Tensor

import zoo
from zoo.encoder import Encoder
from zoo.errors import CheckpointError


def load(directory: Path) -> Encoder:
    return zoo.load(directory, device="cpu")


def edit_config(directory: Path, **changes: Any) -> None:
    """Change fields of config.json; a value of None removes the field."""
    config = json.loads((directory / "config.json").read_text()) | changes
    (directory / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def edit_weights(directory: Path, **changes: Tensor | None) -> None:
    tensors = load_file(directory / "model.safetensors") | {k.replace("__", "."): v for k, v in changes.items()}
    save_file({k: v for k, v in tensors.items() if v is not None}, directory / "model.safetensors")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return saved(hubert("base"), tmp_path / "base")


def test_hostile_bin_is_refused_and_not_run(base: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "touched"),)

    (base / "model.safetensors").unlink()
    torch.save({"x": Payload()}, base / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="must hold a mapping from names to tensors"):
        load(base)
    assert not (tmp_path / "touched").exists()


def test_shard_outside_the_directory_is_refused(base: Path) -> None:
    (base / "model.safetensors").rename(base.parent / "elsewhere.safetensors")
    index = {"weight_map": {"a": "../elsewhere.safetensors"}}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"'\.\./elsewhere\.safetensors', which is not in the directory"):
        load(base)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_act", "relu"),
        ("hidden_act", "gelu_new"),
        ("feat_extract_activation", "relu"),
        ("feat_proj_layer_norm", False),
        ("layer_norm_eps", 1e-6),
        ("conv_pos_batch_norm", True),
        ("adapter_attn_dim", 16),
        ("conv_kernel", [10, 3, 3, 3, 3, 3, 2]),
        ("conv_stride", [5, 2, 2, 2, 2, 2, 1]),
        ("conv_dim", [48, 48, 48, 48, 48, 48, 64]),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(base: Path, field: str, value: Any) -> None:
    edit_config(base, **{field: value})
    with pytest.raises(CheckpointError, match=rf"config\.json: {field} is "):
        load(base)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feat_extract_norm": "batch"}, "batch"),
        ({"num_attention_heads": 7}, "not a multiple of heads 7"),
        ({"hidden_size": "wide"}, "config is not valid"),
        ({"num_hidden_layers": 4}, r"missing     transformer\.blocks\.3\.attention\.qkv\.weight \(192, 64\)"),
        ({"num_hidden_layers": 2}, r"unexpected  transformer\.blocks\.2"),
        ({"intermediate_size": 100}, r"ffn\.up\.weight: \(128, 64\) in the file, \(100, 64\) in the model"),
        ({"conv_bias": True}, r"missing     frontend\.convs\.0\.bias"),
        ({"model_type": "sew"}, "model_type 'sew' is no model that zoo can read; .*Hugging Face HuBERT.*wrap=True"),
    ],
)
def test_config_that_does_not_fit_the_weights(base: Path, changes: dict[str, Any], message: str) -> None:
    edit_config(base, **changes)
    with pytest.raises(CheckpointError, match=message):
        load(base)


def test_missing_and_unexpected_tensors_are_listed(base: Path) -> None:
    edit_weights(base, encoder__layers__1__attention__k_proj__bias=None, masked_spec_embed=torch.zeros(7))
    with pytest.raises(CheckpointError) as caught:
        load(base)
    for part in ("missing     transformer.blocks.1.attention.qkv.bias", "attention.q.bias", "mask_embedding: (7,)"):
        assert part in str(caught.value)
    edit_weights(base, encoder__layers__1__gate=torch.zeros(2), quantizer=torch.zeros(3))
    with pytest.raises(
        CheckpointError, match=r"2 tensors have no place(.|\n)*encoder\.layers\.1\.gate(.|\n)*quantizer"
    ):
        load(base)


def test_integers_are_no_weights(base: Path) -> None:
    name = "encoder.layers.1.feed_forward.intermediate_dense.weight"
    whole = load_file(base / "model.safetensors")[name]
    edit_weights(base, **{name: (whole * 127).to(torch.int8)})
    with pytest.raises(CheckpointError, match=r"blocks\.1\.ffn\.up\.weight: torch\.int8 in the file, torch\.float32"):
        load(base)


@pytest.mark.parametrize("settings", [{"quant_method": "bitsandbytes", "load_in_8bit": True}, {"quant_method": "gptq"}])
def test_quantized_weights_are_refused_by_name(base: Path, settings: dict[str, Any]) -> None:
    edit_config(base, quantization_config=settings)
    with pytest.raises(CheckpointError, match=rf"config\.json: quantization_config .*{settings['quant_method']}"):
        load(base)


def test_misshapen_parts_are_named(base: Path) -> None:
    whole = load_file(base / "model.safetensors")
    name = "encoder.layers.1.attention.k_proj.weight"
    edit_weights(base, **{name: torch.zeros(64, 63)})
    with pytest.raises(CheckpointError, match=r"attention\.k\.weight \(64, 63\)"):
        load(base)
    edit_weights(base, **{name: whole[name]})
    edit_weights(base, encoder__pos_conv_embed__conv__parametrizations__weight__original0=torch.ones(1, 1, 127))
    with pytest.raises(CheckpointError, match=r"position\.weight_g \(1, 1, 127\) torch\.float32 is no gain"):
        load(base)
    edit_weights(base, **{f"encoder__layers__1__attention__{p}_proj__bias": torch.tensor(0.0) for p in "qkv"})
    edit_weights(base, encoder__pos_conv_embed__conv__parametrizations__weight__original0=torch.ones(1, 1, 128))
    with pytest.raises(CheckpointError, match="base: its description or weights cannot be understood"):
        load(base)


@pytest.mark.parametrize("delimiter", ["_", {"content": "_", "special": False}])
def test_a_bar_that_is_a_letter_is_refused(delimiter: Any, tmp_path: Path) -> None:
    saved(hubert("base", HubertForCTC, vocab_size=4), tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({"<pad>": 0, "_": 1, "|": 2, "a": 3}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"word_delimiter_token": delimiter}))
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: word_delimiter_token is '_', but '\|' is"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (None, r"outputs \[0, 1, 2\] of the CTC head have no symbol in vocab\.json, which is missing"),
        ({"<pad>": 0, "a": 2}, r"outputs \[1\] of the CTC head have no symbol in vocab\.json"),
        ({"eng": {"a": 0}}, "one flat table"),
    ],
)
def test_vocabulary_that_does_not_fit(vocabulary: Any, message: str, tmp_path: Path) -> None:
    saved(hubert("base", HubertForCTC, vocab_size=3), tmp_path)
    if vocabulary is not None:
        (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


@pytest.mark.parametrize("text", ["{", "[1]", '"hubert"', "\xff\xfe"])
def test_config_that_is_no_json_object(base: Path, text: str) -> None:
    (base / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load(base)


def test_incomplete_directories(base: Path, tmp_path: Path) -> None:
    (base / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        load(base)
    with pytest.raises(CheckpointError, match=r"neither config\.yaml \(zoo\) nor config\.json"):
        load(tmp_path)


def test_sizes_far_beyond_the_weights_are_refused_before_building(base: Path) -> None:
    for changes in ({"num_hidden_layers": 10**9}, {"num_hidden_layers": 2, "num_conv_pos_embeddings": 10**10}):
        edit_config(base, **changes)
        with pytest.raises(CheckpointError, match="far larger model"):
            load(base)


@pytest.mark.parametrize(
    "metadata", ["date: 2024-02-30", "size: " + "9" * 5000, "a: &a [1]\nb: *a", "x: " + "[" * 5000]
)
def test_a_card_that_cannot_be_read_does_not_matter(base: Path, metadata: str) -> None:
    (base / "README.md").write_text(f"---\nlicense: mit\n{metadata}\n---\n")
    with pytest.warns(UserWarning, match=r"README\.md: .*license is not recorded"):
        model = load(base)
    assert "license" not in model.provenance


def test_an_adapter_of_peft_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "facebook/hubert-base-ls960"}')
    with pytest.raises(CheckpointError, match=r"adapter of PEFT for 'facebook/hubert-base-ls960'.*merge_and_unload"):
        load(tmp_path)


def test_a_pointer_of_git_lfs_is_named(base: Path) -> None:
    (base / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: a pointer of git-lfs.*git lfs pull"):
        load(base)
