"""Whispers with a tokenizer that is not the published one: added tokens, other sizes, CTranslate2's vocabulary."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from foreign_whisper import HEADS, ctranslate2_directory, openai_file, saved, whisper
from small import noise
from whisper_tokens import tokenizer, write_tiktoken

import zoo
from zoo.errors import CheckpointError, ConfigError
from zoo.models.whisper.model import Whisper
from zoo.models.whisper.tokenizer import TIMESTAMPS

SIZE = 268 + 8 + 3 + TIMESTAMPS  # ids of the tests' tokenizer
TEXT = 268


def load(source: Path) -> Whisper:
    model = zoo.load(source, device="cpu")
    assert isinstance(model, Whisper)
    return model


def fine_tuned(folder: Path, *words: str) -> None:
    """Add tokens to a tokenizer.json as transformers does, after timestamps that are ordinary tokens."""
    content = json.loads((folder / "tokenizer.json").read_text())
    stamps = [f"<|{i * 0.02:.2f}|>" for i in range(TIMESTAMPS)]
    added = [(token, SIZE - TIMESTAMPS + i) for i, token in enumerate([*stamps, *words])]
    content["added_tokens"] += [{"content": token, "id": i, "special": False} for token, i in added]
    (folder / "tokenizer.json").write_text(json.dumps(content))


@torch.no_grad()
def test_tokens_added_in_fine_tuning_are_written(tmp_path: Path) -> None:
    theirs = whisper(vocab_size=SIZE + 5)  # two words, and three rows that fill up a multiple
    fine_tuned(saved(theirs, tmp_path), " zoobert", "\u1e9e")
    ours, wave = load(tmp_path), noise(2.0)
    assert ours.provenance["moved_tokens"] == [" zoobert", "\u1e9e"]
    words = ours.tokenizer
    assert words is not None and words.decode([TEXT, TEXT + 1]) == " zoobert\u1e9e"
    order = [*range(TEXT), SIZE, SIZE + 1, *range(TEXT, SIZE), *range(SIZE + 2, SIZE + 5)]
    their_ids = torch.tensor([[269, 270, 274, 278, 5, SIZE, 7, SIZE + 1, 3]])
    our_ids = torch.tensor([[order.index(i) for i in their_ids[0].tolist()]])
    states = ours.encode_windows([wave], padding="30s")
    logits = ours.decoder(our_ids, ours.decoder.cross(states), ours.decoder.new_cache(1, 16), last_only=False)[0][0]
    mel = ours.log_mel([wave])[0].T[None]
    expected = theirs(mel, decoder_input_ids=their_ids).logits[0][:, order]
    assert float((logits - expected).abs().max()) <= 1e-4


def test_tokens_added_in_fine_tuning_are_kept(tmp_path: Path) -> None:
    folder = saved(whisper(vocab_size=SIZE + 1), tmp_path / "theirs")
    fine_tuned(folder, "zoobert")
    ours = load(folder)
    ours.save(tmp_path / "own")
    again = load(tmp_path / "own")
    assert again.fingerprint() == ours.fingerprint()
    assert torch.equal(again.decoder.tokens.weight, ours.decoder.tokens.weight)
    assert again.tokenizer is not None and again.tokenizer.encode("zoobert") == [TEXT]


def test_an_added_token_becomes_text(tmp_path: Path) -> None:
    """A decoder that always chooses the added token writes it, as text and as a word."""
    folder = saved(whisper(vocab_size=SIZE + 1), tmp_path)
    fine_tuned(folder, " zoobert")
    ours = load(folder)
    with torch.no_grad():
        for name, parameter in ours.decoder.named_parameters():
            if name == "norm.weight":
                parameter.zero_()
            if name == "norm.bias":
                parameter.copy_(10 * ours.decoder.tokens.weight[TEXT])
    transcript = ours.transcribe(
        noise(3.0), 16_000, language="en", temperature=0.0, vad="none", word_timestamps=True, max_tokens=3
    )
    assert transcript.segments[0].text.startswith(" zoobert")
    assert transcript.segments[0].words[0].text.strip() == "zoobert"


@pytest.mark.parametrize("rows", [SIZE - 1, SIZE - TIMESTAMPS, 270])
@pytest.mark.parametrize("layout", [saved, ctranslate2_directory])
def test_a_tokenizer_of_another_model_is_refused(rows: int, layout: object, tmp_path: Path) -> None:
    assert callable(layout)
    with pytest.raises(CheckpointError, match=f"the tokenizer has {SIZE} ids, .* the weights have {rows} rows"):
        load(layout(whisper(vocab_size=rows), tmp_path))


def test_added_tokens_without_rows_are_refused(tmp_path: Path) -> None:
    fine_tuned(saved(whisper(), tmp_path), "zoobert")
    with pytest.raises(CheckpointError, match=f"the tokenizer has {SIZE + 1} ids, .* the weights have {SIZE} rows"):
        load(tmp_path)


@pytest.mark.parametrize("layout", ["Hugging Face", "CTranslate2", "openai-whisper"])
def test_alignment_heads_of_a_teacher_are_left_out(layout: str, tmp_path: Path) -> None:
    theirs = whisper(decoder_layers=1)
    sources = {
        "Hugging Face": lambda: saved(theirs, tmp_path),
        "CTranslate2": lambda: ctranslate2_directory(theirs, tmp_path),
        "openai-whisper": lambda: openai_file(theirs, tmp_path / "tiny.pt"),
    }
    ours = load(sources[layout]())
    assert ours.config.alignment_heads == ()
    assert "alignment_heads" in ours.provenance["left_out"][0]
    assert "left_out" not in load(saved(whisper(), tmp_path / "whole")).provenance and len(HEADS) == 2


@pytest.mark.parametrize("name", ["vocabulary.json", "vocabulary.txt"])
def test_the_vocabulary_of_ctranslate2_is_a_tokenizer(name: str, tmp_path: Path) -> None:
    folder = ctranslate2_directory(whisper(), tmp_path / "ct2")
    expected = load(folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    ids = content["model"]["vocab"] | {token["content"]: token["id"] for token in content["added_tokens"]}
    stamps = [f"<|{i * 0.02:.2f}|>" for i in range(TIMESTAMPS)]
    tokens = [*sorted(ids, key=ids.__getitem__), *stamps]
    text = json.dumps(tokens) if name.endswith("json") else "".join(f"{token}\n" for token in tokens)
    (folder / "tokenizer.json").unlink()
    (folder / name).write_text(text, encoding="utf-8")
    assert load(folder).fingerprint() == expected.fingerprint()
    (folder / name).write_text('{"a": 0}')
    with pytest.raises(CheckpointError, match=rf"{name}: not the vocabulary of a Whisper"):
        load(folder)


def test_a_ctranslate2_directory_without_a_vocabulary(tmp_path: Path) -> None:
    folder = ctranslate2_directory(whisper(), tmp_path)
    expected = tokenizer(tmp_path).fingerprint()
    (folder / "tokenizer.json").unlink()
    found = load(folder).tokenizer
    assert found is not None and found.fingerprint() == expected, "from multilingual.tiktoken beside it"
    (write_tiktoken(folder / "multilingual.tiktoken")).unlink()
    silent = load(folder)
    assert silent.tokenizer is None
    with pytest.raises(ConfigError, match=r"cannot transcribe: put its tokenizer\.json beside its weights"):
        silent.transcribe(noise(1.0), 16_000)
