"""Models of transformers behind the contract: their numbers, whatever the batch, and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from foreign_wrapped import DECODER, SIZE, WRAPPED, expected_states, foreign
from neighbors import randomized
from small import noise

import zoo
from zoo.encoder import Encoder
from zoo.errors import CheckpointError, ConfigError
from zoo.models.wrapped.model import Wrapped
from zoo.models.wrapped.timing import Timing, measure
from zoo.testing import check_encoder

TIMINGS = {  # from the configurations: hop and shortest clip
    "waveform, 20 ms": (320, 400),
    "waveform, squeezed layers": (640, 720),
    "waveform, decoder": (64 * 3 * 2, 127 + 64 * (7 - 1) + 64 * 3 * (3 - 1)),
    "spectrogram": (320, 400),
    "spectrogram, decoder": (640, 560),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_layers_and_rates_are_those_of_the_configuration(kind: str) -> None:
    """tests/models/test_parity.py compares the values."""
    theirs, extractor = foreign(kind)
    ours = zoo.wrap(theirs, extractor)
    assert (ours.hop, ours.min_samples) == TIMINGS[kind]
    encoder = theirs.get_encoder() if theirs.config.is_encoder_decoder else theirs
    assert ours.num_layers == len(encoder.layers if hasattr(encoder, "layers") else encoder.encoder.layers)


@pytest.mark.parametrize("kind", WRAPPED)
def test_the_contract_holds_from_a_directory(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved by transformers, loaded by zoo, saved and loaded again as a checkpoint of zoo."""
    monkeypatch.setattr(Encoder, "window_seconds", 4.0)
    monkeypatch.setattr(Encoder, "context_seconds", 0.5)
    theirs, extractor = foreign(kind)
    theirs.save_pretrained(tmp_path / "theirs")
    extractor.save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs" / "README.md").write_text("---\nlicense: mit\n---\n")
    ours = zoo.load(tmp_path / "theirs", device="cpu", wrap=True)
    assert isinstance(ours, Wrapped) and ours.name == "theirs"
    expected = {"source": str(tmp_path / "theirs"), "layout": "transformers, wrapped", "license": "mit"}
    assert ours.provenance == expected
    assert (ours.embed(noise(1.0), 16_000) - zoo.wrap(theirs, extractor).embed(noise(1.0), 16_000)).abs().max() <= 1e-6
    check_encoder(ours)


def test_heads_and_processors_are_looked_through() -> None:
    config = transformers.Data2VecAudioConfig(**SIZE, conv_dim=(48,) * 7, vocab_size=5)
    theirs = randomized(transformers.Data2VecAudioForCTC(config))
    extractor = transformers.Wav2Vec2FeatureExtractor()

    class Processor:
        feature_extractor = extractor

    ours = zoo.wrap(theirs, Processor())
    expected = expected_states(theirs.base_model, extractor, noise(1.0))[-1]
    assert (ours.encode(noise(1.0), 16_000).x[0] - expected).abs().max() <= 2e-5


def test_a_recording_is_normalized_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model, extractor = foreign("waveform, 20 ms")
    ours = zoo.wrap(model, extractor)
    wave = torch.cat([noise(4.0), noise(4.0) * 0.1])
    whole = ours.encode(wave, 16_000, layer=0).x[0]
    monkeypatch.setattr(Encoder, "window_seconds", 4.0)
    monkeypatch.setattr(Encoder, "context_seconds", 1.9)
    windows = ours.encode(wave, 16_000, layer=0).x[0]
    extractor.do_normalize = False
    separate = zoo.wrap(model, extractor).encode(wave, 16_000, layer=0).x[0]
    gap = (windows - whole).abs().mean()
    assert gap < 0.5 * (separate - whole).abs().mean(), "GroupNorm inside is by window, the waveform is not"


def fixed_length() -> tuple[Any, Any]:
    options: dict[str, Any] = {"d_model": 32, "encoder_layers": 2, "encoder_ffn_dim": 64}
    model = transformers.WhisperModel(transformers.WhisperConfig(**options, **DECODER))
    return model, transformers.WhisperFeatureExtractor()


def codec() -> tuple[Any, Any]:
    config = transformers.EncodecConfig(num_filters=8, hidden_size=16, codebook_size=16)
    return transformers.EncodecModel(config), transformers.EncodecFeatureExtractor()


def text() -> tuple[Any, Any]:
    model = transformers.BertModel(transformers.BertConfig(**SIZE))
    return model, transformers.Wav2Vec2FeatureExtractor()


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (fixed_length, "WhisperModel cannot be wrapped: it gives 1500 frames for 1 s and for 2 s: it pads every clip"),
        (codec, "EncodecModel cannot be wrapped: it gives no hidden states"),
        (text, "BertModel cannot be wrapped: it does not run on audio alone"),
        (
            lambda: (foreign("waveform, 20 ms")[0], object()),
            "Data2VecAudioModel cannot be wrapped: object states no sampling_rate",
        ),
        (lambda: (foreign("waveform, 20 ms")[0], None), "without a feature extractor, which prepares its audio"),
    ],
)
def test_what_cannot_be_wrapped_is_refused_with_the_reason(build: Callable[[], tuple[Any, Any]], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        zoo.wrap(*build())


@pytest.mark.parametrize(
    ("hop", "offset", "shortest"), [(320, -80, 400), (160, 160, 1), (512, 511, 1), (640, 0, 2_000)]
)
def test_timing_is_found(hop: int, offset: int, shortest: int) -> None:
    true = Timing(hop, offset, max(shortest, hop - offset))
    assert measure(true.count, 16_000) == true


def test_uneven_timing_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not grow evenly"):
        measure(lambda samples: int((samples / 100) ** 1.2), 16_000)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    theirs, extractor = foreign("waveform, 20 ms")
    theirs.save_pretrained(tmp_path / "model")
    extractor.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def edit_config(directory: Path, **changes: Any) -> None:
    config = json.loads((directory / "config.json").read_text()) | changes
    (directory / "config.json").write_text(json.dumps(config))


def test_a_directory_without_what_is_needed(directory: Path) -> None:
    edit_config(directory, num_hidden_layers=4)
    with pytest.raises(CheckpointError, match=r"16 tensors of Data2VecAudioModel are missing: encoder\.layers\.3"):
        zoo.load(directory, device="cpu", wrap=True)
    edit_config(directory, model_type="nothing-like-it")
    with pytest.raises(CheckpointError, match="transformers cannot read its description"):
        zoo.load(directory, device="cpu", wrap=True)
    (directory / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no preprocessor_config.json: save a feature extractor beside it"):
        zoo.load(directory, device="cpu", wrap=True)
    with pytest.raises(CheckpointError, match="is no directory"):
        zoo.load(directory / "config.json", device="cpu", wrap=True)


def test_settings_that_name_code_have_no_effect(directory: Path, tmp_path: Path) -> None:
    expected = zoo.load(directory, device="cpu", wrap=True).embed(noise(1.0), 16_000)
    (directory / "evil.py").write_text(f"open({str(tmp_path / 'touched')!r}, 'w')\n")
    code = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    edit_config(directory, auto_map=code, attn_implementation="someone/kernel", _attn_implementation="someone/kernel")
    model = zoo.load(directory, device="cpu", wrap=True)
    assert torch.equal(model.embed(noise(1.0), 16_000), expected)
    assert not (tmp_path / "touched").exists()


def test_other_weights_than_those_of_transformers_are_not_built(directory: Path, tmp_path: Path) -> None:
    model = zoo.load(directory, device="cpu", wrap=True)
    model.save(tmp_path / "ours")
    header = (tmp_path / "ours" / "config.yaml").read_text()
    for before, after in [("Data2VecAudioModel", "Trainer"), ("Wav2Vec2FeatureExtractor", "Trainer")]:
        (tmp_path / "ours" / "config.yaml").write_text(header.replace(before, after))
        with pytest.raises(CheckpointError, match="Trainer"):
            zoo.load(tmp_path / "ours", device="cpu")
