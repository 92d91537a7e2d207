"""Whisper's weights from four layouts: the same numbers as transformers, the same model from each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_whisper import (
    HEADS,
    KINDS,
    ctranslate2_directory,
    ctranslate2_variables,
    features,
    openai_file,
    quantized,
    saved,
    whisper,
)
from safetensors.torch import load_file, save_file
from small import noise
from torch import Tensor
from whisper_tokens import tokenizer, write_tiktoken

import zoo
from zoo.errors import CheckpointError
from zoo.models.whisper.model import Whisper

TOLERANCE = 1e-4
TOKENS = torch.tensor([[269, 270, 274, 278, 5, 60, 7, 200, 3]])


def load(source: Path) -> Whisper:
    model = zoo.load(source, device="cpu")
    assert isinstance(model, Whisper)
    return model


@torch.no_grad()
def logits(model: Whisper, wave: Tensor) -> Tensor:
    """(U, V) of TOKENS."""
    cross = model.decoder.cross(model.encode_windows([wave], padding="30s"))
    return model.decoder(TOKENS, cross, model.decoder.new_cache(1, 16), last_only=False)[0][0]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same weights in each layout."""
    root, theirs = tmp_path_factory.mktemp("whisper"), whisper()
    (root / "openai").mkdir()
    write_tiktoken(root / "openai" / "multilingual.tiktoken")
    return {
        "Hugging Face": saved(theirs, root / "hf"),
        "openai-whisper": openai_file(theirs, root / "openai" / "mine.pt"),
        "CTranslate2": ctranslate2_directory(theirs, root / "ct2"),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_states_equal_transformers(kind: str, tmp_path: Path) -> None:
    theirs, wave = whisper(kind), noise(4.3, 3)
    ours = load(saved(theirs, tmp_path))
    mel = features(theirs, wave)
    with torch.no_grad():
        expected = theirs(mel, decoder_input_ids=TOKENS, output_hidden_states=True)
    torch.testing.assert_close(ours.log_mel([wave])[0].T, mel[0], atol=1e-4, rtol=0)
    assert float((logits(ours, wave) - expected.logits[0]).abs().max()) <= TOLERANCE
    frames = ours.encode(wave, 16_000, layer="all").x[:, 0]  # (L, T, D)
    hidden = [*expected.encoder_hidden_states[:-1], expected.encoder_last_hidden_state]
    for ours_k, theirs_k in zip(frames, hidden, strict=True):
        torch.testing.assert_close(ours_k, theirs_k[0, : len(ours_k)], atol=TOLERANCE, rtol=0)


def test_every_layout_gives_the_same_model(folders: dict[str, Path]) -> None:
    models = {layout: load(path) for layout, path in folders.items()}
    first = models["Hugging Face"]
    assert first.tokenizer is not None and len(first.tokenizer) == first.config.vocab_size
    assert first.config.alignment_heads == tuple(map(tuple, HEADS))
    for layout, model in models.items():
        assert model.provenance["layout"] == layout
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, first.state_dict()[name]), (layout, name)
        assert model.tokenizer is not None
        assert model.tokenizer.fingerprint() == first.tokenizer.fingerprint(), layout


def test_own_checkpoint_holds_all_of_it(folders: dict[str, Path], tmp_path: Path) -> None:
    model = load(folders["CTranslate2"])
    model.save(tmp_path / "own")
    again = load(tmp_path / "own")
    assert again.fingerprint() == model.fingerprint() and again.config == model.config
    assert again.tokenizer is not None and again.tokenizer.encode(" the") == model.tokenizer.encode(" the")
    assert torch.equal(logits(again, noise(1)), logits(model, noise(1)))


@pytest.mark.parametrize(
    ("kind", "tolerance"), [("float32", 1e-6), ("float16", 1e-3), ("bfloat16", 1e-2), ("int16", 2e-3), ("int8", 1e-2)]
)
def test_number_formats_of_ctranslate2(kind: str, tolerance: float, tmp_path: Path) -> None:
    theirs = whisper("turbo")
    exact, rough = load(saved(theirs, tmp_path / "hf")), load(ctranslate2_directory(theirs, tmp_path / "ct2", kind))
    for name, tensor in exact.state_dict().items():
        difference = (rough.state_dict()[name] - tensor).abs().max() / tensor.abs().max().clamp(min=1e-6)
        assert difference <= tolerance, name
    assert torch.cosine_similarity(logits(rough, noise(1)), logits(exact, noise(1)), dim=-1).min() > 0.98


def test_half_precision_files_are_computed_in_float32(tmp_path: Path) -> None:
    theirs = whisper().half()
    model = load(saved(theirs, tmp_path, max_shard_size="200KB"))
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}


def test_the_name_of_an_openai_file_gives_its_alignment_heads(tmp_path: Path) -> None:
    theirs = whisper(encoder_layers=4, decoder_layers=4, encoder_attention_heads=8, decoder_attention_heads=8)
    tiny = load(openai_file(theirs, tmp_path / "tiny.pt", **{"decoder.mask": torch.zeros(1)}))
    assert tiny.config.alignment_heads == zoo.info("whisper-tiny").config["alignment_heads"]
    assert load(openai_file(theirs, tmp_path / "mine.pt")).config.alignment_heads == ()
    assert tiny.tokenizer is None, "there is no fitting tokenizer beside it"


def test_tokenizer_beside_an_openai_file(tmp_path: Path) -> None:
    theirs = whisper(languages=2)
    tokenizer(tmp_path, languages=2).save(tmp_path / "tokenizer.json")
    (tmp_path / "multilingual.tiktoken").unlink()
    found = load(openai_file(theirs, tmp_path / "mine.pt")).tokenizer
    assert found is not None and list(found.languages) == ["en", "zh"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation_function": "relu"}, "activation_function"),
        ({"scale_embedding": True}, "scale_embedding"),
        ({"decoder_ffn_dim": 128}, "decoder_ffn_dim"),
        ({"encoder_layers": 5}, "missing"),
        ({"encoder_attention_heads": 7}, "heads"),
    ],
)
def test_unsupported_configurations_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = saved(whisper(), tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_an_untied_output_is_refused(tmp_path: Path) -> None:
    folder = saved(whisper(), tmp_path)
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    words = tensors["model.decoder.embed_tokens.weight"]
    save_file(tensors | {"proj_out.weight": words.clone()}, folder / "model.safetensors")
    assert torch.equal(load(folder).decoder.tokens.weight, words)
    save_file(tensors | {"proj_out.weight": words + 0.1}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"proj_out\.weight differs from the token embedding"):
        load(folder)
    save_file(tensors | {"proj_out.weight": words[1:].clone()}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"proj_out\.weight differs from the token embedding"):
        load(folder)


def test_the_output_becomes_a_missing_embedding(tmp_path: Path) -> None:
    folder = saved(whisper(), tmp_path)
    expected, tensors = load(folder).fingerprint(), load_file(folder / "model.safetensors")
    tensors["proj_out.weight"] = tensors.pop("model.decoder.embed_tokens.weight")
    save_file(tensors, folder / "model.safetensors")
    assert load(folder).fingerprint() == expected


def test_damaged_ctranslate2_files_are_refused(tmp_path: Path) -> None:
    theirs = whisper(encoder_layers=1, decoder_layers=1)
    folder = ctranslate2_directory(theirs, tmp_path)
    whole = (folder / "model.bin").read_bytes()
    for size in (0, 3, 10, 40, 1000, len(whole) // 2, len(whole) - 5000):
        (folder / "model.bin").write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"model\.bin"):
            load(folder)
    (folder / "model.bin").unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        load(folder)
    ctranslate2_directory(theirs, tmp_path, version=9)
    with pytest.raises(CheckpointError, match="version 9"):
        load(folder)
    ctranslate2_directory(theirs, tmp_path, **{"decoder/layer_0/self_attention/relative/weight": torch.zeros(2)})
    with pytest.raises(CheckpointError, match="relative"):
        load(folder)


def test_quantized_weights_have_scales() -> None:
    variables = ctranslate2_variables(whisper())
    stored = quantized(variables, "int8")
    assert stored["decoder/embeddings/weight"].dtype == torch.int8
    assert stored["encoder/conv1/weight_scale"].shape == (64,)


@pytest.mark.realdata
@pytest.mark.skipif("ZOO_WHISPER_WEIGHTS" not in os.environ, reason="set ZOO_WHISPER_WEIGHTS")
@pytest.mark.parametrize("name", ["tiny.en", "base"])
def test_published_weights_are_one_model_in_two_layouts(name: str) -> None:
    root = Path(os.environ["ZOO_WHISPER_WEIGHTS"])
    a, b = load(root / name), load(root / f"{name}.pt")
    assert a.config == b.config == zoo.create(f"whisper-{name}").config
    assert a.fingerprint() == b.fingerprint()
