"""Whisper's encoder: padding, log-mel, windows of long recordings, states for the decoder."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import SMALL, noise, small
from whisper_tokens import tokenizer

import zoo
from zoo.errors import AudioError, ConfigError
from zoo.models.whisper.config import WhisperConfig
from zoo.models.whisper.model import Whisper
from zoo.nn.frontend import WhisperMel, slaney_filters
from zoo.nn.precision import to_dtype

TOLERANCE = 1e-5


@pytest.fixture
def model() -> Whisper:
    made = small("whisper-tiny")
    assert isinstance(made, Whisper)
    return made


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def reference(wave: torch.Tensor, mels: int, seconds: float) -> torch.Tensor:
    """(N, M) as openai-whisper's log_mel_spectrogram of pad_or_trim, in float64."""
    whole = torch.nn.functional.pad(wave, (0, round(seconds * 16_000) - len(wave))).double()
    spectrum = torch.stft(whole, 400, 160, window=torch.hann_window(400).double(), return_complex=True)
    filters = slaney_filters(400, 16_000, mels, wave.device).double()
    power = (filters.T @ spectrum[:, :-1].abs().square()).clamp(min=1e-10).log10()
    return (torch.maximum(power, power.max() - 8) + 4) / 4


@pytest.mark.parametrize("samples", [320, 799, 16_000, 47_801, 47_999, 48_000])
@pytest.mark.parametrize("mels", [80, 128])
def test_log_mel_is_the_published_one(samples: int, mels: int) -> None:
    model = zoo.create("whisper-tiny", mels=mels, audio_ctx=150, dim=12, encoder_layers=1, alignment_heads=())
    wave = noise(3.0, 5)[:samples]
    found = model.log_mel([wave])[0]
    torch.testing.assert_close(found.T.double(), reference(wave, mels, 3.0), atol=2e-5, rtol=0)


def test_log_mel_of_a_recording_is_that_of_its_windows(model: Whisper, monkeypatch: pytest.MonkeyPatch) -> None:
    wave = noise(7.03, 2)
    whole = model.mel_of(wave)
    assert whole.shape == (703, 80)
    torch.testing.assert_close(whole.T.double(), reference(wave, 80, 8.0)[:, :703], atol=2e-5, rtol=0)
    monkeypatch.setattr(WhisperMel, "block", 100)
    torch.testing.assert_close(model.mel_of(wave), whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(model.norm_stats(wave)[0], torch.cat(list(model.mel.blocks(wave))).max())


def test_without_padding_the_clip_alone_is_encoded(model: Whisper) -> None:
    wave = noise(1.0, 1)
    padded = model.encode(wave, 16_000).x
    model.padding = "none"
    assert model.config.padding == model.preprocessing()["padding"] == "none"
    unpadded = model.encode(wave, 16_000).x
    assert unpadded.shape == padded.shape
    assert (unpadded - padded).abs().max() > 1e-3, "silence after the clip changes the frames"
    inputs = small("whisper-tiny").encode(wave, 16_000, layer=0).x
    torch.testing.assert_close(model.encode(wave, 16_000, layer=0).x, inputs, atol=TOLERANCE, rtol=0)


def test_padding_does_not_matter_for_a_clip_that_fills_the_window(model: Whisper) -> None:
    wave = noise(3.0, 1)
    padded = model.encode(wave, 16_000).x
    model.padding = "none"
    torch.testing.assert_close(model.encode(wave, 16_000).x, padded, atol=TOLERANCE, rtol=0)


def test_windows_of_a_recording_are_normalized_like_it(model: Whisper) -> None:
    wave = torch.cat([noise(3.0, 1) * 1e-3, noise(3.0, 2)])
    quiet = model.encode(wave, 16_000, layer=0).x[0, :50]
    alone = model.encode(wave[:48_000], 16_000, layer=0).x[0, :50]
    assert (quiet - alone).abs().max() > 0.01
    peak = model.norm_stats(wave)[None]
    mel = model.log_mel([wave[:48_000]], peaks=peak)
    assert float(mel.min()) >= (float(peak) - 8 + 4) / 4 - 1e-6


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(0, 48_000), min_size=1, max_size=4), padding=st.sampled_from(["30s", "none"]))
def test_states_of_a_window_do_not_depend_on_its_batch(sizes: list[int], padding: str) -> None:
    model = small("whisper-tiny")
    assert isinstance(model, Whisper)
    waves = [noise(3.0, i)[: max(1, n)] for i, n in enumerate(sizes)]
    with torch.no_grad():
        together = model.encode_windows(waves, padding=padding)
        for b, wave in enumerate(waves):
            alone = model.encode_windows([wave], padding=padding)
            n = int(alone.lengths[0])
            assert n == int(together.lengths[b])
            torch.testing.assert_close(together.x[b, :n], alone.x[0, :n], atol=TOLERANCE, rtol=0)


def test_mel_is_padded_to_a_window_with_zeros(model: Whisper) -> None:
    mel = model.log_mel([noise(3.0, 4)])
    cut = model.encode_mel(mel[:, :120])
    zeroed = mel.clone()
    zeroed[:, 120:] = 0
    assert torch.equal(cut.x, model.encode_mel(zeroed).x)
    assert cut.lengths.tolist() == [150]


def test_windows_that_are_too_long_are_refused(model: Whisper) -> None:
    with pytest.raises(AudioError, match=r"waveform 1: 48001 samples"):
        model.encode_windows([noise(1.0), noise(3.1)[:48_001]])


def test_tokenizer_travels_with_the_checkpoint(tmp_path: Path) -> None:
    tokens = tokenizer(tmp_path)
    model = zoo.create("whisper-tiny", **SMALL["whisper"] | {"vocab_size": len(tokens)})
    assert isinstance(model, Whisper)
    plain = model.fingerprint()
    model.tokenizer = tokens
    model.save(tmp_path / "model")
    again = zoo.load(tmp_path / "model", device="cpu")
    assert isinstance(again, Whisper) and again.tokenizer is not None
    assert again.tokenizer.fingerprint() == model.tokenizer.fingerprint()
    assert again.fingerprint() == model.fingerprint() != plain


@pytest.mark.parametrize(("dtype", "cosine"), [("bfloat16", 0.999), ("int8", 0.9)])
def test_fewer_bits_keep_states_and_logits(model: Whisper, dtype: str, cosine: float) -> None:
    rough = to_dtype(copy.deepcopy(model), dtype)
    assert isinstance(rough, Whisper)
    waves, ids = [noise(1.0, 1), noise(2.0, 2)], torch.tensor([[1, 2, 3], [4, 5, 6]])
    found = []
    for each in (model, rough):
        states = each.encode_windows(waves)
        logits, _ = each.decoder(ids, each.decoder.cross(states), each.decoder.new_cache(2, 4))
        found.append((states.x.float(), logits))
    for exact, near in zip(*found, strict=True):
        assert torch.cosine_similarity(exact, near, dim=-1).min() > cosine


@pytest.mark.parametrize(
    "override", [{"padding": "half"}, {"heads": 5}, {"decoder_heads": 7}, {"alignment_heads": ((9, 0),)}]
)
def test_impossible_configurations_are_refused(override: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(override)))):
        zoo.create("whisper-tiny", **override)


def test_heads_become_plain_numbers() -> None:
    assert WhisperConfig(alignment_heads=[[1, 2]]).alignment_heads == ((1, 2),)  # type: ignore[arg-type]
