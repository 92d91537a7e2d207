"""Hugging Face directories: the same numbers as transformers, whatever the layout."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_hubert import KINDS, HubertForCTC, HubertModel, hidden_states, hubert, saved
from safetensors.torch import load_file, save_file
from small import noise
from torch import Tensor
from transformers import (
    HubertForSequenceClassification,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Processor,
)

import zoo
from zoo import audio, loading
from zoo.encoder import Encoder
from zoo.errors import CheckpointError
from zoo.models.ctc.alphabet import Alphabet

TOLERANCE = 1e-4  # on states whose entries are of the order of 1 to 10


def load(directory: Path) -> Encoder:
    return zoo.load(directory, device="cpu")


def worst(model: Encoder, expected: Tensor, wave: Tensor) -> float:
    """Largest difference over all layers and frames."""
    frames = model.encode(wave, 16_000, layer="all")
    assert frames.x[:, 0].shape == expected.shape
    return float((frames.x[:, 0] - expected).abs().max())


def edit_config(directory: Path, file: str = "config.json", **changes: Any) -> None:
    """Change fields of a JSON file; a value of None removes the field."""
    config = json.loads((directory / file).read_text()) | changes
    (directory / file).write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return saved(hubert("base"), tmp_path / "base")


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [400, 719, 720, 16_000, 48_123])
def test_every_hidden_state(kind: str, normalize: bool, samples: int, tmp_path: Path) -> None:
    theirs = hubert(kind)
    ours = load(saved(theirs, tmp_path, normalize=normalize))
    wave = noise(4.0)[:samples] + 0.01
    assert worst(ours, hidden_states(theirs, wave, normalize=normalize), wave) <= TOLERANCE


@pytest.mark.realdata
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_hidden_state_on_recordings(kind: str, normalize: bool, tmp_path: Path, data_root: Path) -> None:
    theirs = hubert(kind)
    ours = load(saved(theirs, tmp_path, normalize=normalize))
    manifest = [json.loads(line) for line in (data_root / "read" / "manifest.jsonl").open()]
    for item in sorted(manifest, key=lambda item: item["duration"])[:: len(manifest) // 5]:
        wave = audio.load(data_root / "read" / item["audio"], 16_000)[: 20 * 16_000]
        assert worst(ours, hidden_states(theirs, wave, normalize=normalize), wave) <= TOLERANCE, item["audio"]


@pytest.mark.slow
def test_every_hidden_state_at_true_width(tmp_path: Path) -> None:
    true = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    theirs = hubert("base", **true, conv_dim=(512,) * 7)
    ours = load(saved(theirs, tmp_path))
    assert ours.config == type(ours).Config(activation_dropout=0.1, layerdrop=0.1)
    wave = noise(3.0)
    assert worst(ours, hidden_states(theirs, wave), wave) <= TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_torchaudio_computes_the_same(kind: str, tmp_path: Path) -> None:
    from torchaudio.models.wav2vec2.utils import import_huggingface_model

    theirs = hubert(kind)
    ours = load(saved(theirs, tmp_path))
    wave = noise(2.5)
    with torch.no_grad():
        states, _ = import_huggingface_model(theirs).eval().extract_features(wave[None])
    expected = torch.cat(states)  # (L, T, D); torchaudio does not give the input of the stack
    if kind == "large":
        with torch.no_grad():
            expected[-1] = theirs.encoder.layer_norm(expected[-1])  # nor does it apply the output norm
    x = ours.encode(wave, 16_000, layer="all").x[1:, 0]
    assert (x - expected).abs().max() <= TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blank", [0, 4])
def test_ctc_logits_with_the_blank_first(kind: str, blank: int, tmp_path: Path) -> None:
    symbols = ["a", "b", "|", "'", "é"]
    symbols[blank] = "<pad>"
    theirs = hubert(kind, HubertForCTC, vocab_size=5, pad_token_id=blank)
    saved(theirs, tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({symbol: i for i, symbol in enumerate(symbols)}))
    ours = load(tmp_path)
    order = [blank, *(i for i in range(5) if i != blank)]
    assert ours.config.vocabulary == tuple(symbols[i] for i in order)
    wave = noise(2.0)
    with torch.no_grad():
        expected = theirs(wave[None]).logits[0][:, order]
    assert (ours.logits(wave, 16_000).x[0] - expected).abs().max() <= TOLERANCE
    assert worst(ours, hidden_states(theirs, wave), wave) <= TOLERANCE


@pytest.mark.parametrize("delimiter", ["_", " ", "[SPACE]", {"content": "<sp>", "special": True}])
def test_what_stands_between_words(delimiter: Any, tmp_path: Path) -> None:
    saved(hubert("base", HubertForCTC, vocab_size=4), tmp_path)
    symbol = delimiter["content"] if isinstance(delimiter, dict) else delimiter
    (tmp_path / "vocab.json").write_text(json.dumps({"<pad>": 0, "a": 1, symbol: 2, "b": 3}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"word_delimiter_token": delimiter}))
    vocabulary = load(tmp_path).config.vocabulary
    assert vocabulary == ("<pad>", "a", "|", "b")
    assert Alphabet(vocabulary).decode([1, 3, 2, 1]) == "ab a"


def test_directory_as_a_whole_processor_saves_it(tmp_path: Path) -> None:
    """Feature extractor inside processor_config.json, special tokens beside vocab.json."""
    theirs = hubert("base", HubertForCTC, vocab_size=4, pad_token_id=3)
    saved(theirs, tmp_path, normalize=None)
    (tmp_path / "letters.json").write_text(json.dumps({"a": 0, "b": 1, "|": 2}))
    tokenizer = Wav2Vec2CTCTokenizer(tmp_path / "letters.json", pad_token="[PAD]", bos_token=None, eos_token=None)
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(do_normalize=True), tokenizer).save_pretrained(tmp_path)
    if not (tmp_path / "preprocessor_config.json").exists():
        assert "feature_extractor" in json.loads((tmp_path / "processor_config.json").read_text())
    ours = load(tmp_path)
    assert ours.config.normalize
    assert len(ours.config.vocabulary) == 4


def test_classifier_is_left_out_and_said_so(tmp_path: Path) -> None:
    theirs = hubert("large", HubertForSequenceClassification, num_labels=3, use_weighted_layer_sum=True)
    ours = load(saved(theirs, tmp_path))
    assert sorted(ours.provenance["left_out"]) == [
        "classifier.bias",
        "classifier.weight",
        "layer_weights",
        "projector.bias",
        "projector.weight",
    ]
    wave = noise(1.0)
    assert worst(ours, hidden_states(theirs, wave), wave) <= TOLERANCE


@pytest.mark.parametrize("spelling", ["weight_g", "plain"])
def test_spellings_of_weight_norm(base: Path, spelling: str) -> None:
    expected = load(base).fingerprint()
    prefix = "encoder.pos_conv_embed.conv."
    tensors = load_file(base / "model.safetensors")
    gain = tensors.pop(prefix + "parametrizations.weight.original0")
    direction = tensors.pop(prefix + "parametrizations.weight.original1")
    if spelling == "weight_g":
        tensors |= {prefix + "weight_g": gain, prefix + "weight_v": direction}
    else:
        norm = direction.double().norm(dim=(0, 1), keepdim=True)
        tensors[prefix + "weight"] = (direction.double() * (gain.double() / norm)).float()
    save_file(tensors, base / "model.safetensors")
    assert load(base).fingerprint() == expected


@pytest.mark.parametrize("layout", ["safetensors shards", "bin", "bin shards", "legacy bin"])
def test_other_layouts_of_the_weights(layout: str, base: Path, tmp_path: Path) -> None:
    model, other = HubertModel.from_pretrained(base), tmp_path / "other"
    if layout == "safetensors shards":
        saved(model, other, max_shard_size="100KB")
        assert (other / "model.safetensors.index.json").is_file()
    else:
        saved(model, other)
        state = load_file(other / "model.safetensors")
        (other / "model.safetensors").unlink()
        if layout == "bin shards":
            names = list(state)
            halves = [{n: state[n] for n in names[k::2]} for k in (0, 1)]
            for k, half in enumerate(halves):
                torch.save(half, other / f"pytorch_model-{k}.bin")
            index = {n: f"pytorch_model-{k}.bin" for k, half in enumerate(halves) for n in half}
            (other / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": index}))
        else:
            torch.save(state, other / "pytorch_model.bin", _use_new_zipfile_serialization=layout == "bin")
    assert load(other).fingerprint() == load(base).fingerprint()


def test_absent_mask_embedding_is_filled_reproducibly(tmp_path: Path) -> None:
    never_masks = hubert("base", mask_time_prob=0.0)
    assert "masked_spec_embed" not in never_masks.state_dict()
    ours = load(saved(never_masks, tmp_path))
    assert ours.provenance["filled_in"].startswith("mask_embedding")
    assert 0 <= ours.mask_embedding.min() < ours.mask_embedding.max() < 1
    assert ours.fingerprint() == load(tmp_path).fingerprint()


@pytest.mark.parametrize(("kind", "expected"), [("base", False), ("large", True)])
def test_normalization_without_a_feature_extractor(kind: str, expected: bool, tmp_path: Path) -> None:
    assert load(saved(hubert(kind), tmp_path, normalize=None)).config.normalize is expected


def test_feature_extractor_decides(base: Path) -> None:
    edit_config(base, "preprocessor_config.json", do_normalize=None, sampling_rate=8000)
    ours = load(base)
    assert ours.config.normalize is True, "transformers' default where the field is absent"
    assert ours.sample_rate == 8000


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    theirs = hubert("large").half()
    ours = load(saved(theirs, tmp_path))
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    wave = noise(1.0)
    assert worst(ours, hidden_states(theirs.float(), wave), wave) <= TOLERANCE


@pytest.mark.parametrize(
    "changes", [{"conv_dim": 512}, {"conv_dim": None}, {"hidden_dropout": "a"}, {"layerdrop": [1]}]
)
def test_a_description_that_makes_no_sense_names_the_model(base: Path, changes: dict[str, Any]) -> None:
    description = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(description | changes))
    with pytest.raises(CheckpointError, match=re.escape(str(base))):
        load(base)


def test_origin_is_recorded_and_converted(base: Path, tmp_path: Path) -> None:
    (base / "README.md").write_text("---\nlicense: apache-2.0\ntags: [speech]\n---\n# Model\n")
    converted = loading.convert(base, tmp_path / "converted")
    assert converted.provenance == {"source": str(base), "layout": "Hugging Face", "license": "apache-2.0"}
    again = load(tmp_path / "converted")
    assert (again.fingerprint(), again.provenance) == (converted.fingerprint(), converted.provenance)
    assert "license: apache-2.0" in (tmp_path / "converted" / "README.md").read_text()


@pytest.mark.parametrize(
    ("written", "license"), [("null", None), ("[mit, cc-by-4.0]", "mit, cc-by-4.0"), ("apache-2.0", "apache-2.0")]
)
def test_licenses_none_one_and_several(base: Path, written: str, license: str | None) -> None:
    (base / "README.md").write_text(f"---\nlicense: {written}\n---\n")
    assert zoo.load(base, device="cpu").provenance.get("license") == license


def test_weights_without_their_directory_are_pointed_to_it(base: Path) -> None:
    with pytest.raises(CheckpointError, match="give the directory"):
        zoo.load(base / "model.safetensors")
