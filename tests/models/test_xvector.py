"""Speaker vectors: the numbers of transformers, batches, windows and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from neighbors import REFERENCES
from recordings import write_wav
from small import noise
from torch import Tensor
from transformers import PreTrainedModel, UniSpeechSatForXVector, Wav2Vec2ForXVector, WavLMForXVector

import zoo
from zoo import checkpoint, registry
from zoo.encoder import Encoder
from zoo.errors import AudioError, CheckpointError, ConfigError

SPEAKERS = {"tdnn_dim": (24, 20, 20, 16, 40), "xvector_output_dim": 12}
SHORTEST = 400 + 15 * 320  # 16 frames: 14 of context, and two for a deviation


def foreign(family: str, directory: Path, *, weighted: bool = True, **options: object) -> PreTrainedModel:
    heads = {"WavLM": WavLMForXVector, "UniSpeech-SAT": UniSpeechSatForXVector, "wav2vec 2.0": Wav2Vec2ForXVector}
    reference = REFERENCES[family]
    model = reference.make(heads[family], **(SPEAKERS | options), use_weighted_layer_sum=weighted)
    reference.save(model, directory)
    return model


def expected_vector(model: PreTrainedModel, wave: Tensor) -> Tensor:
    with torch.no_grad():
        return F.normalize(model(wave[None]).embeddings[0], dim=0)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("family", ["WavLM", "UniSpeech-SAT", "wav2vec 2.0"])
def test_vectors_are_those_of_transformers(family: str, weighted: bool, tmp_path: Path) -> None:
    theirs = foreign(family, tmp_path, weighted=weighted)
    ours = zoo.load(tmp_path, device="cpu")
    assert all(name.startswith(("classifier.", "objective.")) for name in ours.provenance["left_out"])
    clips = [noise(4.0, seed)[:samples] for seed, samples in enumerate((SHORTEST, SHORTEST + 320, 16_000, 48_123))]
    expected = torch.stack([expected_vector(theirs, clip) for clip in clips])
    together = ours.embed_speaker(clips, 16_000)
    assert together.shape == (4, 12)
    assert (together - expected).abs().max() <= 2e-5
    for clip, vector in zip(clips, together, strict=True):
        assert (ours.embed_speaker(clip, 16_000) - vector).abs().max() <= 1e-5


@pytest.mark.parametrize("seconds", [5.0, 6.02, 9.7])
def test_every_frame_of_a_long_recording_counts_once(
    seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With layer 0, which windows do not change, the vector of the windows is that of the whole."""
    foreign("UniSpeech-SAT", tmp_path)
    ours = zoo.load(tmp_path, device="cpu")
    with torch.no_grad():
        ours.speaker.layer_weights.copy_(torch.tensor([30.0, 0.0, 0.0, 0.0]))
    wave = noise(seconds, 3)
    whole = ours.embed_speaker(wave, 16_000)
    monkeypatch.setattr(Encoder, "window_seconds", 4.0)
    monkeypatch.setattr(Encoder, "context_seconds", 1.5)
    assert (ours.embed_speaker(wave, 16_000) - whole).abs().max() <= 1e-5


def test_a_saved_head_is_restored(tmp_path: Path) -> None:
    foreign("WavLM", tmp_path / "theirs", weighted=False)
    ours = zoo.load(tmp_path / "theirs", device="cpu")
    ours.save(tmp_path / "ours")
    assert "model.embed_speaker(" in (tmp_path / "ours" / "README.md").read_text()
    restored = zoo.load(tmp_path / "ours", device="cpu")
    assert torch.equal(restored.embed_speaker(noise(1), 16_000), ours.embed_speaker(noise(1), 16_000))


def test_clips_that_are_too_short_are_named(tmp_path: Path) -> None:
    foreign("WavLM", tmp_path)
    ours = zoo.load(tmp_path, device="cpu")
    with pytest.raises(AudioError, match=r"waveform 1: too short for a speaker vector, which needs 0\.33 s"):
        ours.embed_speaker([noise(1), noise(1)[: SHORTEST - 1]], 16_000)
    write_wav(tmp_path / "short.wav", 0.3)
    with pytest.raises(AudioError, match=r"short\.wav: too short for a speaker vector"):
        ours.embed_speaker(tmp_path / "short.wav")


def test_a_model_without_a_head_says_so() -> None:
    with pytest.raises(ConfigError, match=r"hubert-mini has no speaker head; load .*wavlm-base-plus-sv"):
        zoo.load("hubert", device="cpu").embed_speaker(noise(1), 16_000)


@pytest.mark.parametrize(("field", "value"), [("tdnn_kernel", (5, 3, 3, 3, 1)), ("tdnn_dilation", (1, 1, 1, 1, 1))])
def test_another_head_is_refused_by_name(field: str, value: tuple[int, ...], tmp_path: Path) -> None:
    foreign("WavLM", tmp_path, **{field: value})
    with pytest.raises(CheckpointError, match=rf"config\.json: {field} is "):
        zoo.load(tmp_path, device="cpu")


def test_options_at_their_defaults_leave_old_fingerprints_as_they_were() -> None:
    model = zoo.load("hubert", device="cpu")
    assert model.fingerprint() == checkpoint.read_header(registry.ASSETS / "hubert-mini")["fingerprint"]
    with_head = zoo.create("hubert-mini", speaker_layers="last")
    with_head.load_state_dict(model.state_dict())
    assert with_head.fingerprint() != model.fingerprint()


def test_widths_must_fit_the_convolutions() -> None:
    with pytest.raises(ConfigError, match=r"speaker_widths \(8, 8\): give 5 widths"):
        zoo.create("wavlm-base", layers=1, speaker_widths=(8, 8))
