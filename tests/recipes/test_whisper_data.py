"""Whisper's training data: vocabulary, targets, batches, masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spoken_tones import say

from zoo.data.loader import DataConfig
from zoo.data.manifest import Entry
from zoo.errors import ConfigError
from zoo.models.whisper.config import WhisperConfig
from zoo.models.whisper.model import Whisper
from zoo.models.whisper.tokenizer import WhisperTokenizer
from zoo.recipes.whisper import data
from zoo.recipes.whisper.config import WhisperAugmentConfig, WhisperTrainConfig, WhisperTuneConfig, WindowConfig
from zoo.recipes.whisper.data import IGNORED, WhisperCollate, spec_augment
from zoo.recipes.whisper.targets import TargetEncoder
from zoo.recipes.whisper.task import Transcribe
from zoo.recipes.whisper.vocabulary import BpeEncoder, train_tokenizer
from zoo.recipes.whisper.windows import TimedText, TrainingWindow
from zoo.text.normalizers import normalizer

TEXTS = ["The cat sat on the mat.", "A cat is that.", "Ça va, là-bas?", "thirty-three thousand things"] * 3


MEL_MASKS = WhisperAugmentConfig(mel_masks=2, mel_width=9, time_masks=2, time_width=30, time_share=0.5)


@pytest.fixture(scope="module")
def words() -> WhisperTokenizer:
    return train_tokenizer(TEXTS, 300, ["de", "en", "fr"])


def window(
    segments: list[TimedText], lang: str | None = "fr", previous: str = "", with_timestamps: bool = False, seed: int = 0
) -> TrainingWindow:
    entry = Entry(Path("a.wav"), 2.0, "train", text="", lang=lang)
    return TrainingWindow(torch.zeros(3200), 0, entry, 0, seed, segments, previous, with_timestamps)


def names(tokenizer: WhisperTokenizer, ids: list[int]) -> list[str]:
    """Ids as readable strings: specials and times by their names, runs of text as text."""
    special = {i: f"<{name[2:-2]}>" for name, i in tokenizer._specials.items()}
    out: list[str] = []
    pending: list[int] = []
    for i in [*ids, -1]:
        if 0 <= i < tokenizer.eot:
            pending.append(i)
            continue
        if pending:
            out.append(tokenizer.decode(pending))
            pending = []
        if i >= tokenizer.timestamp_begin:
            out.append(f"{(i - tokenizer.timestamp_begin) * 0.02:.2f}")
        elif i >= 0:
            out.append(special[i])
    return out


def test_vocabulary_learns_from_the_texts_and_spells_everything(words: WhisperTokenizer) -> None:
    assert len(words.vocabulary) == 300 and len(words) == 300 + 2 + 3 + 4 + 2 + 1501
    assert list(words.languages) == ["de", "en", "fr"]
    assert len(words.encode(" the cat")) <= 3 < len("the cat")
    again = train_tokenizer(TEXTS, 300, ["de", "en", "fr"])
    assert again.fingerprint() == words.fingerprint()
    english = train_tokenizer(TEXTS, 300, ["en"])
    assert not english.languages and not english.multilingual


def test_vocabulary_survives_its_file(words: WhisperTokenizer, tmp_path: Path) -> None:
    words.save(tmp_path / "tokenizer.json")
    again = WhisperTokenizer.from_file(tmp_path / "tokenizer.json")
    assert again.fingerprint() == words.fingerprint() and again.encode(" that mat") == words.encode(" that mat")


@given(st.text(max_size=40), st.floats(0, 0.95), st.integers(0, 2**62))
@settings(max_examples=150, deadline=None)
def test_dropped_merges_change_the_spelling_not_the_text(text: str, dropout: float, seed: int) -> None:
    words = train_tokenizer(TEXTS, 300, ["en"])
    encode = BpeEncoder(words, dropout)
    ids = encode(text, Random(seed))
    assert words.decode(ids) == text and ids == encode(text, Random(seed))
    assert len(ids) >= len(words.encode(text))


def test_without_dropout_the_spelling_is_the_tokenizers(words: WhisperTokenizer) -> None:
    slow = BpeEncoder(words, 1e-12)
    for text in (*TEXTS, " the the the thirty", "12  spaces   here"):
        assert slow(text, Random(0)) == words.encode(text)


def test_targets_of_a_window(words: WhisperTokenizer) -> None:
    encode = TargetEncoder(words, 128)
    segments = [TimedText("A cat", 0.0, 1.3), TimedText("sat", 1.3, None)]
    start = ["<startoftranscript>", "<fr>", "<transcribe>"]
    ids, context = encode(window(segments[:1]))
    assert names(words, ids) == [*start, "<notimestamps>", " A cat", "<endoftext>"]
    assert context == 1
    ids, context = encode(window(segments, with_timestamps=True, previous="the mat"))
    assert names(words, ids) == [
        "<startofprev>",
        " the mat",
        *start,
        *("0.00", " A cat", "1.30", "1.30"),
        "<endoftext>",
    ]
    assert ids[context - 1] == words.sot
    assert names(words, encode(window([]))[0]) == ["<startoftranscript>", "<nospeech>", "<endoftext>"]
    english = train_tokenizer(TEXTS, 300, ["en"])
    ids, _ = TargetEncoder(english, 128)(window(segments[:1]))
    assert names(english, ids) == ["<startoftranscript>", "<notimestamps>", " A cat", "<endoftext>"]
    with pytest.raises(ConfigError, match="'xx' has no token; the model has de, en, fr"):
        encode(window(segments, lang="xx"))


@given(st.integers(0, 40), st.integers(0, 60), st.booleans(), st.sampled_from([0.0, 0.5]))
@settings(max_examples=100, deadline=None)
def test_targets_always_fit_the_decoder(count: int, before: int, with_timestamps: bool, dropout: float) -> None:
    words = train_tokenizer(TEXTS, 300, ["de", "en", "fr"])
    encode = TargetEncoder(words, 96, dropout)
    text = "cat " * count
    if encode.count(text) + 2 > encode.max_tokens:
        return
    ids, context = encode(
        window([TimedText(text, 0.0, 1.0)], previous="mat " * before, with_timestamps=with_timestamps, seed=count)
    )
    assert len(ids) - 1 <= 96 and ids[-1] == words.eot and ids[context - 1] == words.sot
    assert words.decode([i for i in ids[context:] if i < words.eot]).strip() == text.strip()


def test_the_context_is_not_learned(words: WhisperTokenizer) -> None:
    model = tiny(words)
    collate = WhisperCollate(model, TargetEncoder(words, 96), WhisperAugmentConfig())
    windows = [window([TimedText("A cat", 0.0, 1.0)], previous="the mat"), window([])]
    tokens, targets = collate.texts(windows)
    for row, made in enumerate(windows):
        ids, context = collate.target_encoder(made)
        assert tokens[row, : len(ids) - 1].tolist() == ids[:-1]
        assert targets[row][targets[row] != IGNORED].tolist() == ids[context:]
        assert (targets[row, : context - 1] == IGNORED).all()
        assert (targets[row, len(ids) - 1 :] == IGNORED).all()


def tiny(words: WhisperTokenizer, **options: Any) -> Whisper:
    sizes = {"audio_ctx": 150, "dim": 32, "heads": 2, "decoder_heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    torch.manual_seed(0)
    model = Whisper(
        WhisperConfig(
            **sizes
            | {"text_ctx": 96, "vocab_size": len(words), "padding": "none", "pad_positions": 25, "min_positions": 60}
            | options
        )
    )
    model.tokenizer = words
    return model


@given(st.integers(4, 300), st.integers(0, 2**62))
@settings(max_examples=100, deadline=None)
def test_masks_are_bands_and_stretches(frames: int, seed: int) -> None:
    mel = torch.randn(frames, 20, generator=torch.Generator().manual_seed(seed % 1000))
    masked = mel.clone()
    spec_augment(masked, MEL_MASKS, Random(seed))
    changed = masked != mel
    times, bands = changed.all(1), changed.all(0)  # (M,), (N,)
    assert torch.equal(changed, times[:, None] | bands[None])
    assert times.sum() <= 2 * min(30, frames // 2) and (times.all() or bands.sum() <= 18)
    assert torch.allclose(masked[changed], mel.mean().expand(int(changed.sum())))
    untouched = mel.clone()
    spec_augment(untouched, WhisperAugmentConfig(), Random(seed))
    assert torch.equal(untouched, mel)


@pytest.mark.parametrize("padding", ["none", "30s"])
def test_training_and_decoding_get_the_same_states(words: WhisperTokenizer, padding: str) -> None:
    model = tiny(words, padding=padding).eval()
    waves = [say("ba"), say("abba", 1)]
    batch = WhisperCollate(model, TargetEncoder(words, 96), WhisperAugmentConfig())(
        [TrainingWindow(wave, 0, Entry(Path("a"), 1.0, "train", lang="en"), 0, 0, []) for wave in waves]
    )
    trained = Transcribe(model, WhisperTuneConfig()).encode(batch)
    states = model.encode_windows(waves)
    if padding == "30s":
        assert batch.positions.tolist() == [150, 150]
    else:
        assert batch.positions.tolist() == [max(60, len(wave) // 320 + 25) for wave in waves]
    assert torch.equal(trained.lengths, states.lengths)
    for b, n in enumerate(trained.lengths.tolist()):
        torch.testing.assert_close(trained.x[b, :n], states.x[b, :n], rtol=1e-4, atol=1e-5)


def test_clips_that_cannot_be_learned_from_are_left_out(words: WhisperTokenizer) -> None:
    entries = [
        Entry(Path("a.wav"), 2.0, "train", text=" fine "),
        Entry(Path("b.wav"), 2.0, "train"),
        Entry(Path("c.wav"), 0.1, "train", text="short"),
        Entry(Path("d.wav"), 9.0, "train", text="long"),
        Entry(Path("e.wav"), 2.0, "train", text=""),
    ]
    messages: list[str] = []
    used = data.usable(entries, DataConfig("here"), str.strip, 3.0, messages.append)
    assert [entry.text for entry in used] == ["fine", ""]
    assert messages == ["here: 2 of 5 clips are used; left out: 1 without text, 1 too short, 1 longer than 3 s"]
    with pytest.raises(ConfigError, match='no clip of split "train" can be used'):
        data.usable(entries[1:], DataConfig("here"), str.strip, 3.0, messages.append)
    many = [Entry(Path("f.wav"), 2.0, "train", text="cat sat " * 40), *used]
    assert data.fitting(many, TargetEncoder(words, 96), "here", messages.append) == used
    assert messages[-1] == "here: 1 texts of more than 41 tokens are left out"


@pytest.mark.parametrize(("name", "wordless"), [("english", "um"), ("english", "[red]"), ("basic", "...")])
def test_only_a_text_that_is_empty_from_the_start_is_silence(name: str, wordless: str) -> None:
    entries = [Entry(Path("a.wav"), 2.0, "train", text=text) for text in ("Red.", "", " ", wordless)]
    messages: list[str] = []
    used = data.usable(entries, DataConfig("here"), normalizer(name), 3.0, messages.append)
    assert [entry.text for entry in used] == ["red", "", ""]
    assert messages == ["here: 3 of 4 clips are used; left out: 1 without words after normalizing"]


def test_a_clip_without_a_language_is_refused(words: WhisperTokenizer) -> None:
    entries = [Entry(Path(f"{lang}.wav"), 2.0, "train", text="cat", lang=lang) for lang in ("en", "de", None)]
    silent = Entry(Path("silent.wav"), 2.0, "train", text="")
    data.check_languages([*entries[:2], silent, replace(entries[2], split="test")], words.languages, "here")
    data.check_languages(entries, {}, "here")  # English alone has no tokens of languages
    with pytest.raises(ConfigError, match=r"here: None.wav has lang None, .* de, en, fr; .* column `lang`"):
        data.check_languages(entries, words.languages, "here")


def test_a_window_is_no_longer_than_that_of_the_model() -> None:
    config = WhisperTrainConfig(windows=WindowConfig(seconds=2.5))
    assert data.window_seconds(config, WhisperConfig(audio_ctx=150)) == 2.5
    assert data.window_seconds(WhisperTrainConfig(), WhisperConfig(audio_ctx=150)) == 3.0
    with pytest.raises(ConfigError, match=r"windows.seconds 2.5: the window of the model is 2 s"):
        data.window_seconds(config, WhisperConfig(audio_ctx=100))
