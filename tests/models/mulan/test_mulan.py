"""MuLan: windows, text, zero-shot, spectrogram layouts, saved tokenizers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small import noise, small

import zoo
from zoo.errors import ConfigError
from zoo.models.mulan.model import MuLan
from zoo.models.mulan.text import Tokenizer

CAPTIONS = ["calm solo piano", "fast drums and bass", "a slow waltz for violin", "loud brass fanfare in C major"]


@pytest.fixture(params=["mulan-resnet50", "mulan-ast"])
def model(request: pytest.FixtureRequest) -> MuLan:
    model = small(request.param)
    assert isinstance(model, MuLan)
    model.tokenizer = Tokenizer.train(CAPTIONS, vocab_size=model.config.vocab_size)
    return model


def test_embeddings_have_unit_length(model: MuLan) -> None:
    audio = model.embed([noise(3, 1), noise(31, 2)], 16_000)
    text = model.embed_text(CAPTIONS)
    assert audio.shape == (2, 128) and text.shape == (4, 128)
    for vectors in (audio, text, model.encode(noise(31, 2), 16_000).x[0]):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(vectors)))


@pytest.mark.parametrize(
    ("seconds", "windows"), [(0.2, 1), (9.9, 1), (10.0, 1), (14.9, 1), (15.0, 2), (24.9, 2), (25.1, 3), (61.0, 6)]
)
def test_the_last_window_counts_if_half_of_it_is_real(model: MuLan, seconds: float, windows: int) -> None:
    frames = model.encode(noise(seconds), 16_000)
    assert frames.lengths.tolist() == [windows] == [model.count_frames(round(seconds * 16_000))]


def test_windows_do_not_depend_on_the_clip(model: MuLan) -> None:
    clip = noise(26, 3)
    together = model.encode(clip, 16_000).x[0]  # 3 windows, the last with 6 s
    for t in range(3):
        single = model.embed(clip[t * model.hop : t * model.hop + model.frame_samples], 16_000)
        torch.testing.assert_close(together[t], single, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.embed(clip, 16_000), F.normalize(together.mean(0), dim=0), atol=1e-5, rtol=1e-5)


def test_spectrogram_layout_is_declared(model: MuLan) -> None:
    wave = noise(10.2, 4)[: model.frame_samples]
    mel = model.logmel(wave[None])  # (1, M, N)
    with torch.no_grad():
        expected = model.embed(wave, 16_000)
        torch.testing.assert_close(model.embed_spectrogram(mel)[0], expected, atol=1e-5, rtol=1e-5)
        turned = model.embed_spectrogram(mel.transpose(1, 2), layout="frequency_first")
        torch.testing.assert_close(turned[0], expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(ConfigError, match="frequency_first"):
        model.embed_spectrogram(mel.transpose(1, 2))


def test_similarity_takes_a_single_text(model: MuLan) -> None:
    clips = [noise(3, 1), noise(2, 2)]
    both = model.similarity(clips, CAPTIONS[:2], 16_000)
    torch.testing.assert_close(model.similarity(clips, CAPTIONS[1], 16_000), both[:, 1])
    torch.testing.assert_close(model.similarity(clips[0], CAPTIONS[1], 16_000), both[0, 1])


def test_an_empty_text_is_refused(model: MuLan) -> None:
    for texts in ("", " \n", ["piano", ""]):
        with pytest.raises(ConfigError, match="is empty; describe the audio"):
            model.embed_text(texts)
        with pytest.raises(ConfigError, match="is empty; describe the audio"):
            model.similarity(noise(2, 5), texts, 16_000)


def test_text_does_not_depend_on_its_batch_and_is_truncated(model: MuLan) -> None:
    together = model.embed_text(CAPTIONS)
    for text, vector in zip(CAPTIONS, together, strict=True):
        torch.testing.assert_close(model.embed_text(text), vector, atol=1e-5, rtol=1e-5)
    long = " ".join(CAPTIONS * 100)
    torch.testing.assert_close(model.embed_text(long), model.embed_text(long + " and more"))


def test_zero_shot_probabilities(model: MuLan) -> None:
    clips, labels = [noise(2, 5), noise(3, 6)], ["piano", "drums", "violin"]
    probabilities = model.classify(clips, labels, 16_000, templates=["{}", "music with {}"])
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))
    assert model.classify(clips[0], labels, 16_000).shape == (3,)
    plain = (model.similarity(clips, labels, 16_000) / model.temperature().item()).softmax(-1)
    torch.testing.assert_close(model.classify(clips, labels, 16_000), plain, atol=1e-5, rtol=1e-4)


def test_a_string_is_not_a_list_of_labels(model: MuLan) -> None:
    clip = noise(2, 5)
    with pytest.raises(ConfigError, match=r"texts: give a list of strings"):
        model.similarity(clip, [], 16_000)
    wrong: list[tuple[Any, Any, str]] = [
        ("piano", ["{}"], "labels: give a list"),
        ([], ["{}"], "labels: give a list"),
        (["piano"], "{}", "templates: give a list"),
        (["piano"], (), "templates: give a list"),
        (["piano"], ["music"], "template 'music' has no {}"),
    ]
    for labels, templates, message in wrong:
        with pytest.raises(ConfigError, match=re.escape(message)):
            model.classify(clip, labels, 16_000, templates=templates)
    assert model.classify(clip, ["a", "b {x}"], 16_000, templates=["{} in {x}"]).shape == (2,)


def test_checkpoint_includes_the_tokenizer(model: MuLan, tmp_path: Path) -> None:
    model.save(tmp_path / "mulan")
    restored = zoo.load(tmp_path / "mulan", device="cpu")
    assert torch.equal(restored.embed_text(CAPTIONS), model.embed_text(CAPTIONS))
    assert restored.fingerprint() == model.fingerprint()
    before, model.tokenizer = model.fingerprint(), None
    assert model.fingerprint() != before
    with pytest.raises(ConfigError, match="no tokenizer"):
        model.embed_text("piano")


def test_augmentation_acts_in_training_only(model: MuLan) -> None:
    mel = model.logmel(noise(10.2, 7)[None, : model.frame_samples])
    assert torch.equal(model.augment(mel), mel)
    model.train()
    assert not torch.equal(model.augment(mel), mel)


@pytest.mark.parametrize("lengths", [[0, 20], [-1, 20], [21, 20], [4800, 20], [20]])
def test_lengths_are_those_of_the_frames(model: MuLan, lengths: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"lengths .*mel frames, 1 to 20 each"):
        model.embed_spectrogram(torch.zeros(2, 20, model.config.mels), torch.tensor(lengths))


def test_lone_surrogates_are_ignored(model: MuLan) -> None:
    embeddings = model.embed_text(["calm \ud83c piano", "calm piano", "calm piano \udcff"])
    # Rows of a batch may differ in their last bits, depending on the matrix product.
    torch.testing.assert_close(embeddings, embeddings[[1, 1, 1]])
    assert len(Tokenizer.train(["a calm piano", "calm \ud800"], 40)) == len(
        Tokenizer.train(["a calm piano", "calm"], 40)
    )


@pytest.mark.parametrize(
    "override",
    [
        *({"tower": "vgg"}, {"temperature": 0.0}, {"text_length": 600}, {"text_length": 1}),
        *({"window_seconds": 0.0}, {"window_seconds": -1.0}, {"dim": 0}, {"mels": 0}, {"vocab_size": 0}),
        *(
            {"resnet_blocks": ()},
            {"resnet_blocks": (1, 0)},
            {"text_heads": 0},
            {"text_layers": -1},
            {"patch_stride": 0},
        ),
    ],
)
def test_impossible_configurations_are_refused(override: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(override)))):
        zoo.create("mulan-resnet50", **override)
