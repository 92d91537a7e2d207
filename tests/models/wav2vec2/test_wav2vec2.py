"""wav2vec 2.0 and its relatives: heads, CTC, refusals and saving."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from neighbors import REFERENCES
from small import noise
from transformers import (
    UniSpeechForPreTraining,
    UniSpeechSatForPreTraining,
    Wav2Vec2ForCTC,
    Wav2Vec2ForPreTraining,
    Wav2Vec2ForSequenceClassification,
)

import zoo
from zoo.errors import CheckpointError
from zoo.models.hubert.model import HuBERT
from zoo.models.wav2vec2.cards import CARDS

WAV2VEC2 = REFERENCES["wav2vec 2.0"]


@pytest.mark.parametrize(
    ("family", "cls"),
    [
        ("wav2vec 2.0", Wav2Vec2ForPreTraining),
        ("wav2vec 2.0", Wav2Vec2ForSequenceClassification),
        ("UniSpeech", UniSpeechForPreTraining),
        ("UniSpeech-SAT", UniSpeechSatForPreTraining),
    ],
)
def test_heads_are_left_out_and_said_so(family: str, cls: Any, tmp_path: Path) -> None:
    reference = REFERENCES[family]
    theirs = reference.make(cls)
    ours = zoo.load(reference.save(theirs, tmp_path), device="cpu")
    assert type(ours) is HuBERT and ours.provenance["left_out"]
    wave = noise(1.0)
    assert (ours.encode(wave, 16_000).x[0] - reference.hidden_states(theirs, wave)[-1]).abs().max() <= 2e-5


def test_a_ctc_model_transcribes_as_transformers_does(tmp_path: Path) -> None:
    symbols = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAO")
    theirs = WAV2VEC2.make(Wav2Vec2ForCTC, vocab_size=len(symbols), pad_token_id=0)
    with torch.no_grad():
        theirs.lm_head.bias[:4] -= 10.0  # of the special symbols: the text is letters
    WAV2VEC2.save(theirs, tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({symbol: row for row, symbol in enumerate(symbols)}))
    ours = zoo.load(tmp_path, device="cpu")
    assert isinstance(ours, HuBERT) and ours.config.vocabulary == symbols
    wave = noise(2.0)
    with torch.no_grad():
        expected = theirs(wave[None]).logits[0]
    assert (ours.logits(wave, 16_000).x[0] - expected).abs().max() <= 1e-4
    runs = torch.unique_consecutive(expected.argmax(-1)).tolist()
    text = "".join(symbols[row] for row in runs if row > 3).replace("|", " ")
    assert ours.transcribe(wave, 16_000).text == " ".join(text.split()) != ""


@pytest.mark.parametrize(("field", "value"), [("add_adapter", True), ("adapter_attn_dim", 16)])
def test_adapters_are_refused_by_name(field: str, value: Any, tmp_path: Path) -> None:
    directory = WAV2VEC2.save(WAV2VEC2.make(**{field: value}), tmp_path)
    with pytest.raises(CheckpointError, match=rf"config\.json: {field} is {value}"):
        zoo.load(directory, device="cpu")


def test_a_saved_checkpoint_is_the_same_model(tmp_path: Path) -> None:
    model = zoo.load(WAV2VEC2.save(WAV2VEC2.make(), tmp_path / "theirs"), device="cpu")
    model.save(tmp_path / "ours")
    assert zoo.load(tmp_path / "ours", device="cpu").fingerprint() == model.fingerprint()


def test_the_repository_of_a_card_has_its_name() -> None:
    for card in CARDS:
        assert card.source in (f"hf:facebook/{card.name}", f"hf:microsoft/{card.name}")
