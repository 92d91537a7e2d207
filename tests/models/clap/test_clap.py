"""CLAP: windows, views and texts, with the numbers of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_clap import RATE, SECONDS, TEXTS, WINDOW, edit, extractor, reference, saved, states_of, tokenizer_files
from small import noise, small
from transformers import ClapModel, RobertaTokenizerFast

import zoo
from zoo.errors import CheckpointError, ConfigError
from zoo.models.clap.model import Clap
from zoo.models.clap.text import Tokenizer
from zoo.testing import difference

TOLERANCE = 2e-5
BATCH_TOLERANCE = 1e-5
Pair = tuple[ClapModel, Clap]


@pytest.fixture(scope="module", params=[False, True], ids=["unfused", "fused"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    theirs, folder = saved(tmp_path_factory.mktemp("clap"), request.param)
    return theirs, zoo.load(folder, device="cpu")


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    theirs, folder = saved(tmp_path_factory.mktemp("clap"), fused=True)
    return theirs, zoo.load(folder, device="cpu")


@pytest.mark.parametrize("samples", [1_024, 3_000, 40_000, 48_001, 70_000, WINDOW - 1, WINDOW])
def test_every_stage_and_the_embedding_up_to_one_window(pair: Pair, samples: int) -> None:
    theirs, ours = pair
    wave = noise(3, 1, RATE)[:samples]
    embedding, states = reference(theirs, wave, is_longer=False)
    for mine, expected in zip(states_of(ours, wave), states, strict=True):
        torch.testing.assert_close(mine, expected, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(ours.embed(wave, RATE), embedding, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("seconds", [2.02, 2.5, 3.7, 6.0])
def test_a_long_window_has_crops_that_the_reference_can_draw(fused: Pair, seconds: float) -> None:
    theirs, ours = fused
    assert ours.hop == 30 * RATE
    wave = noise(seconds, 2, RATE)
    embedding, states = reference(theirs, wave, is_longer=True)
    for mine, expected in zip(states_of(ours, wave), states, strict=True):
        torch.testing.assert_close(mine, expected, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(ours.embed(wave, RATE), embedding, atol=TOLERANCE, rtol=0)
    plain, _ = reference(theirs, wave[:WINDOW], is_longer=False)
    assert difference(embedding, plain) > 100 * TOLERANCE, "fusion must matter"


def test_a_clip_less_than_a_hop_longer_than_a_window_is_not_fused(fused: Pair) -> None:
    theirs, ours = fused
    wave = noise(3, 3, RATE)[: WINDOW + 479]
    torch.testing.assert_close(
        ours.embed(wave, RATE), reference(theirs, wave, is_longer=False)[0], atol=TOLERANCE, rtol=0
    )


@pytest.mark.parametrize("frequency", [100.0, 5_000.0])
def test_tones_and_silence(pair: Pair, frequency: float) -> None:
    """Most bands of a tone lie at the floor of the spectrogram, where rounding is largest."""
    theirs, ours = pair
    tone = 0.5 * torch.sin(2 * torch.pi * frequency * torch.arange(60_000, dtype=torch.float64) / RATE).float()
    for wave in (tone, torch.zeros(60_000)):
        torch.testing.assert_close(
            ours.embed(wave, RATE), reference(theirs, wave, is_longer=False)[0], atol=2e-4, rtol=0
        )


def test_clips_of_any_length_in_one_batch(pair: Pair) -> None:
    _, ours = pair
    seconds = (0.03, 0.9, 1.99, 2.0, 2.02, 2.9, 3.1, 5.0, 8.3)
    clips = [noise(s, index, RATE) for index, s in enumerate(seconds)]
    together = ours.encode(clips, RATE)
    embedded = ours.embed(clips, RATE)
    for index, clip in enumerate(clips):
        alone = ours.encode(clip, RATE).x[0]
        assert difference(together.unpad()[index], alone) <= BATCH_TOLERANCE
        assert difference(embedded[index], ours.embed(clip, RATE)) <= BATCH_TOLERANCE
    assert difference(embedded[0], embedded[1]) > 100 * BATCH_TOLERANCE, "clips must differ at all"


def test_consecutive_windows_are_the_frames(pair: Pair) -> None:
    _, ours = pair
    if ours.config.fused:
        return
    wave = noise(7.1, 4, RATE)  # three windows; 1.1 s more are the fourth
    frames = ours.encode(wave, RATE)
    assert frames.lengths.tolist() == [4] and frames.frame_rate == 1 / SECONDS and frames.first_time == SECONDS / 2
    cuts = [ours.embed(wave[start : start + WINDOW], RATE) for start in range(0, len(wave), WINDOW)]
    assert difference(frames.x[0], torch.stack(cuts)) <= BATCH_TOLERANCE
    assert ours.count_frames(int(6.9 * RATE)) == 3
    mean = torch.nn.functional.normalize(torch.stack(cuts).mean(0), dim=0)
    assert difference(ours.embed(wave, RATE), mean) <= BATCH_TOLERANCE


def test_long_files_take_few_windows_at_a_time() -> None:
    for name in ("clap-htsat-unfused", "clap-htsat-fused"):
        model, sizes = small(name), []
        model.register_forward_pre_hook(lambda _, args, sizes=sizes: sizes.append(args[0].numel()))
        model.embed(noise(200, 5, RATE), RATE)
        assert len(sizes) > 2 and max(sizes) <= 64 * RATE


# Texts


def test_texts(tmp_path: Path) -> None:
    theirs, folder = saved(tmp_path, slow=True)
    ours = zoo.load(folder, device="cpu")
    batch = RobertaTokenizerFast.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    ids, lengths = ours.tokenizer.encode(TEXTS, 40)
    assert torch.equal(ids, batch["input_ids"]) and torch.equal(lengths, batch["attention_mask"].sum(1))
    with torch.no_grad():
        expected = theirs.get_text_features(**batch).pooler_output
    torch.testing.assert_close(ours.embed_text(TEXTS), expected, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(ours.embed_text(TEXTS[0]), expected[0], atol=TOLERANCE, rtol=0)
    assert difference(expected[0], expected[1]) > 100 * TOLERANCE, "texts must differ at all"


def test_similarity_and_zero_shot_probabilities_are_those_of_transformers(pair: Pair) -> None:
    theirs, ours = pair
    clips = [noise(1.0, 1, RATE), noise(2.0, 2, RATE)]
    features = extractor(ours.config.fused)([clip.double().numpy() for clip in clips], sampling_rate=RATE)
    spectrogram = torch.tensor(np.array(features["input_features"])).float()
    ids, lengths = ours.tokenizer.encode(TEXTS, 40)
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    with torch.no_grad():
        flags = torch.zeros(2, 1, dtype=torch.bool)
        out = theirs(input_ids=ids, input_features=spectrogram, attention_mask=mask, is_longer=flags)
    cosines = out.logits_per_audio / theirs.logit_scale_a.exp()
    torch.testing.assert_close(ours.similarity(clips, TEXTS, RATE), cosines, atol=TOLERANCE, rtol=0)
    expected = out.logits_per_audio.softmax(-1)
    torch.testing.assert_close(ours.classify(clips, TEXTS, RATE), expected, atol=20 * TOLERANCE, rtol=0)
    assert ours.classify(clips[0], TEXTS, RATE).shape == (len(TEXTS),)


def test_long_texts_are_cut_and_a_missing_tokenizer_is_named(pair: Pair) -> None:
    _, ours = pair
    assert ours.config.text_length == 40
    assert torch.equal(ours.embed_text("rain " * 100), ours.embed_text("rain " * 200))
    with pytest.raises(ConfigError, match=r"clap-htsat-unfused has no tokenizer.*zoo\.models\.clap\.text\.Tokenizer"):
        small("clap-htsat-unfused").embed_text("rain")


def test_tokenizer_files(tmp_path: Path) -> None:
    tokenizer_files(tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    tokenizer.save(tmp_path / "tokenizer.json")
    assert Tokenizer.load(tmp_path).fingerprint() == Tokenizer.load(tmp_path / "vocab.json").fingerprint()
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(CheckpointError, match=r"vocab\.json: no merges\.txt beside it"):
        Tokenizer.load(tmp_path)
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(CheckpointError, match="not a RoBERTa tokenizer: its vocabulary lacks <pad>, <unk>, <s>, </s>"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"normalizer": {"type": "NFC"}}, "normalizer is"),
        ({"pre_tokenizer__add_prefix_space": True}, "pre_tokenizer.add_prefix_space is True"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer is 'Whitespace', not a ByteLevel"),
        ({"model__type": "Unigram"}, "model is 'Unigram', not a BPE"),
        ({"model__dropout": 0.1}, "model.dropout is 0.1"),
        ({"model__byte_fallback": True}, "model.byte_fallback is True"),
        ({"model__vocab": {"a": 1}}, "ids are not 0 to 0"),
        ({"model__merges": "a b"}, "model.merges must be a list"),
        ({"model__merges": [["a", "zz"]]}, "a merge makes or takes 'zz', which is no token"),
        ({"model__merges": [3]}, "a merge must name two tokens"),
        ({"post_processor": None}, "post_processor must make <s> text </s>"),
        ({"added_tokens": [{"id": 9, "content": "<s>"}]}, "has the id 9"),
    ],
)
def test_components_that_no_roberta_has_are_refused(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    tokenizer_files(tmp_path)
    Tokenizer.load(tmp_path).save(tmp_path / "tokenizer.json")
    edit(tmp_path / "tokenizer.json", **changes)
    with pytest.raises(CheckpointError, match=rf"tokenizer\.json: .*{reason}"):
        Tokenizer.load(tmp_path)


# The structure


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"image": 100}, "image 100 is not a multiple of 64 mels"),
        ({"window_seconds": 11.0}, "a window has 1101 mel frames; an image of 256 has room for 1024"),
        ({"window_seconds": 0.02}, "window_seconds 0.02: longer than one FFT"),
        ({"fused": True, "fused_seconds": 5.0}, "fused_seconds 5.0 is below window_seconds"),
        ({"audio_depths": (2, 2)}, "one of each a stage"),
        ({"attention_window": 7}, "stage 0 has 64 x 64 patches: not a multiple of the window of 7"),
        ({"audio_heads": (5, 8, 16, 32)}, "width 96 of a stage is not a multiple of its 5 heads"),
        ({"text_length": 513}, "text_length 513 exceeds text_positions"),
    ],
)
def test_impossible_sizes_are_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        zoo.create("clap-htsat-unfused", text_layers=1, **options)


def test_training_reaches_every_weight() -> None:
    model = small("clap-htsat-fused").train()
    waves = torch.stack([noise(5.0, 1, RATE), noise(5.0, 2, RATE)])
    audio = model(waves, torch.tensor([240_000, 50_000])).x[:, 0]
    text = model.forward_text(torch.tensor([[0, 5, 6, 2], [0, 7, 2, 1]]), torch.tensor([4, 3]))
    loss = (audio @ text.T / model.temperature()).logsumexp(-1).sum()
    loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
