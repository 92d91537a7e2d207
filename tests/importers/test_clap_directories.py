"""CLAP directories of transformers: loaded, saved again, refused where they ask for something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_clap import RATE, TEXTS, edit, saved
from safetensors.torch import load_file, save_file
from small import noise
from transformers import ClapConfig, ClapModel

import zoo
from zoo.errors import CheckpointError


@pytest.fixture(params=[False, True], ids=["unfused", "fused"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return saved(tmp_path / "theirs", request.param)[1]


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_saved_and_loaded_again(folder: Path, tmp_path: Path) -> None:
    model = zoo.load(folder, device="cpu")
    assert model.provenance["license"] == "apache-2.0" and model.provenance["left_out"] == ["logit_scale_t"]
    assert model.config.sample_rate == RATE and model.config.low_hz == 50
    model.save(tmp_path / "ours")
    again = zoo.load(tmp_path / "ours", device="cpu")
    assert again.fingerprint() == model.fingerprint()
    wave = noise(3.3, 1, RATE)
    assert torch.equal(again.embed(wave, RATE), model.embed(wave, RATE))
    assert torch.equal(again.similarity(wave, TEXTS, RATE), model.similarity(wave, TEXTS, RATE))


def test_settings_in_the_file_of_the_processor(folder: Path) -> None:
    expected = zoo.load(folder, device="cpu").fingerprint()
    settings = (folder / "preprocessor_config.json").read_text()
    (folder / "processor_config.json").write_text(f'{{"feature_extractor": {settings}}}')
    (folder / "preprocessor_config.json").unlink()
    assert zoo.load(folder, device="cpu").fingerprint() == expected


def test_constants_of_older_files_are_no_weights(folder: Path) -> None:
    expected = zoo.load(folder, device="cpu").fingerprint()
    change_tensors(folder, lambda t: t.update({"text_model.embeddings.position_ids": torch.arange(42)[None]}))
    assert zoo.load(folder, device="cpu").fingerprint() == expected


def test_without_a_tokenizer_audio_is_embedded(folder: Path) -> None:
    expected = zoo.load(folder, device="cpu").embed(noise(1, 1), 16_000)
    (folder / "tokenizer.json").unlink()
    model = zoo.load(folder, device="cpu")
    assert model.tokenizer is None
    assert torch.equal(model.embed(noise(1, 1), 16_000), expected)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"audio_config__fusion_type": "channel_map"}, "audio_config.fusion_type is 'channel_map'"),
        ({"audio_config__qkv_bias": False}, "audio_config.qkv_bias is False"),
        ({"audio_config__hidden_act": "relu"}, "audio_config.hidden_act is 'relu'"),
        ({"audio_config__mlp_ratio": 2.0}, "audio_config.mlp_ratio is 2.0"),
        ({"audio_config__enable_patch_layer_norm": False}, "audio_config.enable_patch_layer_norm is False"),
        ({"audio_config__patch_stride": [2, 2]}, "patch_stride 2 is not patch_size"),
        ({"audio_config__patch_size": [4, 8]}, r"audio_config.patch_size is \[4, 8\]; zoo's CLAP has square patches"),
        ({"text_config__position_embedding_type": "relative_key"}, "text_config.position_embedding_type is 'relative"),
        ({"text_config__pad_token_id": 0}, "text_config.pad_token_id is 0"),
        ({"projection_hidden_act": "gelu"}, "projection_hidden_act is 'gelu'"),
        ({"audio_config__window_size": 7}, "not a multiple of the window of 7"),
        ({"audio_config__enable_fusion": False}, "enable_fusion False needs 'rand_trunc'"),
    ],
)
def test_options_that_are_not_implemented_are_refused_by_name(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    _, folder = saved(tmp_path, fused=True)
    edit(folder / "config.json", **changes)
    with pytest.raises(CheckpointError, match=reason):
        zoo.load(folder, device="cpu")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"padding": "pad"}, "the feature extractor's padding is 'pad'; zoo's CLAP implements 'repeatpad' only"),
        ({"top_db": 80}, "top_db is 80"),
        ({"truncation": "fusion"}, "truncation is 'fusion'; enable_fusion False needs 'rand_trunc'"),
        ({"feature_size": 80}, "feature_size is 80, num_mel_bins 64"),
    ],
)
def test_other_feature_extractors_are_refused(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    _, folder = saved(tmp_path)
    edit(folder / "preprocessor_config.json", **changes)
    with pytest.raises(CheckpointError, match=reason):
        zoo.load(folder, device="cpu")


def test_what_is_missing_or_does_not_fit_is_named(tmp_path: Path) -> None:
    _, folder = saved(tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    norm = "audio_model.audio_encoder.batch_norm.running_var"
    for change, reason in [
        (lambda t: t.pop(norm), r"no affine\.running_var of a batch norm"),
        (lambda t: t.update(extra=torch.zeros(1)), "unexpected  extra"),
        (lambda t: t.pop("text_projection.linear2.bias"), r"text_projection\.2\.bias"),
        (lambda t: t.update(logit_scale_a=torch.tensor(9.0)), "logit_scale_a 9 is outside of 0 to ln 1000"),
    ]:
        change_tensors(folder, change)
        with pytest.raises(CheckpointError, match=reason):
            zoo.load(folder, device="cpu")
        (folder / "model.safetensors").write_bytes(whole)
    edit(folder / "config.json", text_config__vocab_size=20)
    with pytest.raises(CheckpointError, match=r"the tokenizer has \d+ ids, but the weights have 20 rows"):
        zoo.load(folder, device="cpu")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no preprocessor_config\.json, which states the mel filters"):
        zoo.load(folder, device="cpu")


@pytest.mark.parametrize("name", ["clap-htsat-unfused", "clap-larger-music"])
def test_registered_sizes_are_those_of_the_published_configurations(name: str) -> None:
    larger = {"patch_embeds_hidden_size": 128, "depths": [2, 2, 12, 2], "hidden_size": 1024}
    with torch.device("meta"):
        theirs = ClapModel(ClapConfig(audio_config=larger if "larger" in name else {}))
        ours = zoo.create(name)
    left_out = 2 * 768 + 1  # rows of text positions before the first one, and logit_scale_t
    count = sum(p.numel() for p in theirs.parameters()) - left_out
    assert sum(p.numel() for p in ours.parameters()) == count
    assert zoo.info(name).parameters == pytest.approx(count / 1e6, abs=0.05)
