"""AST: Kaldi's filter bank, foreign directories and saving. tests/models/test_parity.py compares all layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from neighbors import REFERENCES
from small import noise, small
from torchaudio.compliance import kaldi
from transformers import ASTFeatureExtractor, ASTForAudioClassification

import zoo
from zoo.errors import CheckpointError
from zoo.models.ast.fbank import KaldiFbank
from zoo.models.ast.model import AST

REFERENCE = REFERENCES["AST"]


@pytest.mark.parametrize(("sample_rate", "mels"), [(16_000, 128), (16_000, 40), (8_000, 23)])
def test_the_filter_bank_is_kaldis(sample_rate: int, mels: int) -> None:
    waves = torch.stack([noise(1.0, 1), noise(1.0, 2) * 0.01, torch.zeros(16_000)]) + 0.02
    ours = KaldiFbank(sample_rate, mels)(waves)
    options = {"sample_frequency": sample_rate, "window_type": "hanning", "num_mel_bins": mels}
    for wave, bank in zip(waves, ours, strict=True):
        assert (bank - kaldi.fbank(wave[None], **options)).abs().max() <= 1e-3, "in the logarithm of rounding noise"
    assert (ours[0] - kaldi.fbank(waves[:1], **options)).abs().max() <= 2e-5


def test_the_classifier_is_left_out_and_said_so(tmp_path: Path) -> None:
    theirs = REFERENCE.make(ASTForAudioClassification, num_labels=3)
    ours = zoo.load(REFERENCE.save(theirs, tmp_path), device="cpu")
    assert isinstance(ours, AST)
    assert sorted(ours.provenance["left_out"])[0] == "classifier.dense.bias"
    assert (ours.encode(noise(2.2), 16_000).x[0] - REFERENCE.hidden_states(theirs, noise(2.2))[-1]).abs().max() <= 2e-5


def test_spectrograms_that_are_not_standardized(tmp_path: Path) -> None:
    theirs = REFERENCE.make()
    REFERENCE.save(theirs, tmp_path)
    extractor = ASTFeatureExtractor(num_mel_bins=36, max_length=100, do_normalize=False)
    extractor.save_pretrained(tmp_path)
    wave = noise(0.8)
    values = extractor(wave.numpy(), sampling_rate=16_000, return_tensors="pt").input_values
    with torch.no_grad():
        expected = theirs(values).pooler_output
    ours = zoo.load(tmp_path, device="cpu")
    assert (ours.embed(wave, 16_000) - expected[0]).abs().max() <= 2e-5


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("config.json", {"hidden_act": "relu"}, r"config\.json: hidden_act is 'relu'"),
        ("config.json", {"qkv_bias": False}, r"config\.json: qkv_bias is False"),
        ("config.json", {"frequency_stride": 8}, "frequency_stride and time_stride differ"),
        ("preprocessor_config.json", {"max_length": 90}, "extractor has max_length 90, the model 100"),
        ("preprocessor_config.json", {"num_mel_bins": 40}, "extractor has num_mel_bins 40, the model 36"),
    ],
)
def test_what_is_not_implemented_is_refused(file: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    REFERENCE.save(REFERENCE.make(), tmp_path)
    (tmp_path / file).write_text(json.dumps(json.loads((tmp_path / file).read_text()) | changes))
    with pytest.raises(CheckpointError, match=message):
        zoo.load(tmp_path, device="cpu")


def test_a_saved_checkpoint_is_the_same_model(tmp_path: Path) -> None:
    model = zoo.load(REFERENCE.save(REFERENCE.make(), tmp_path / "theirs"), device="cpu")
    model.save(tmp_path / "ours")
    restored = zoo.load(tmp_path / "ours", device="cpu")
    assert restored.fingerprint() == model.fingerprint() and restored.preprocessing() == model.preprocessing()


@pytest.mark.parametrize(("seconds", "windows"), [(0.025, 1), (1.4, 1), (1.5, 2), (2.49, 2), (2.5, 3)])
def test_the_last_window_counts_if_half_of_it_is_real(seconds: float, windows: int) -> None:
    model = small("ast-audioset")
    assert model.encode(noise(seconds), 16_000).x.shape == (1, windows, 48)
