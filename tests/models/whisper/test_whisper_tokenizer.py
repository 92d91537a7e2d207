"""Text to ids and back, special tokens, words, and all tokenizer files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast
from whisper_tokens import WORDS, tokenizer, write_tiktoken

from zoo.errors import CheckpointError, ConfigError
from zoo.models.whisper.tokenizer import TIMESTAMPS, WhisperTokenizer
from zoo.text.languages import LANGUAGES

FIRST = 256 + len(WORDS)  # id of the first special token


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> WhisperTokenizer:
    return tokenizer(tmp_path_factory.mktemp("tokenizer"))


def test_special_tokens_follow_the_text_in_openais_order(small: WhisperTokenizer) -> None:
    assert (small.eot, small.sot) == (FIRST, FIRST + 1)
    assert small.languages == {"en": FIRST + 2, "zh": FIRST + 3, "de": FIRST + 4}
    following = (small.translate, small.transcribe, small.sot_lm, small.sot_prev, small.no_speech, small.no_timestamps)
    assert following == tuple(range(FIRST + 5, FIRST + 11))
    assert small.timestamp_begin == FIRST + 11
    assert len(small) == FIRST + 11 + TIMESTAMPS
    assert small.timestamp(0.0) == small.timestamp_begin and small.timestamp(30.0) == len(small) - 1
    assert small.multilingual
    assert len(LANGUAGES) == len(set(LANGUAGES)) == 100


@given(st.text())
def test_text_survives(small: WhisperTokenizer, text: str) -> None:
    ids = small.encode(text)
    assert small.decode(ids) == text
    assert all(i < small.eot for i in ids)


def test_names_of_specials_in_a_text_are_text(small: WhisperTokenizer) -> None:
    assert small.eot not in small.encode("a<|endoftext|>b")
    assert small.decode([small.sot, *small.encode(" the"), small.timestamp_begin, small.eot]) == " the"


def test_annotations_are_no_speech(small: WhisperTokenizer) -> None:
    found = small.non_speech_tokens()
    assert small.encode(" -")[0] in found and small.encode("-")[0] not in found
    assert small.encode("(")[0] in found and small.encode("♪")[0] in found
    assert small.encode(" the")[0] not in found


def test_words_begin_with_their_space(small: WhisperTokenizer) -> None:
    ids = [*small.encode(" the and, then"), small.eot]
    words, tokens = small.split_to_words(ids)
    assert words == [" the", " and", ",", " then", ""]
    assert [i for word in tokens for i in word] == ids
    assert tokens[-1] == [small.eot]


def test_unspaced_languages_split_into_characters(small: WhisperTokenizer) -> None:
    ids = small.encode("日本♪")
    assert len(ids) > 3
    words, tokens = small.split_to_words(ids, "ja")
    assert words == ["日", "本", "♪"]
    assert [i for word in tokens for i in word] == ids


@given(st.lists(st.integers(0, FIRST + 20), max_size=30), st.sampled_from(["en", "ja"]))
def test_splitting_any_ids_loses_none(small: WhisperTokenizer, ids: list[int], language: str) -> None:
    words, tokens = small.split_to_words(ids, language)
    assert [i for word in tokens for i in word] == ids
    assert len(words) == len(tokens)
    assert "".join(words) == small.decode(ids)


def test_file_brings_back_the_same(small: WhisperTokenizer, tmp_path: Path) -> None:
    small.save(tmp_path / "tokenizer.json")
    again = WhisperTokenizer.from_file(tmp_path / "tokenizer.json")
    assert again.fingerprint() == small.fingerprint()
    assert len(again) == len(small) and again.languages == small.languages
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    text = " the end and ♪"
    assert theirs.encode(text, add_special_tokens=False) == small.encode(text)
    assert theirs.convert_tokens_to_ids("<|transcribe|>") == small.transcribe


def add_tokens(folder: Path, small: WhisperTokenizer, first: int | None = None) -> Path:
    """A tokenizer.json of fine-tuning: two more tokens after the timestamps, or from id `first` on."""
    small.save(folder / "tokenizer.json")
    content = json.loads((folder / "tokenizer.json").read_text())
    stamps = [(f"<|{i * 0.02:.2f}|>", small.timestamp_begin + i, False) for i in range(TIMESTAMPS)]
    begin = len(small) if first is None else first
    added = [("Straße", begin, False), ("<|laugh|>", begin + 1, True)]
    content["added_tokens"] += [{"content": t, "id": i, "special": special} for t, i, special in [*stamps, *added]]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder / "tokenizer.json"


def test_tokens_of_fine_tuning_are_text(small: WhisperTokenizer, tmp_path: Path) -> None:
    tuned = WhisperTokenizer.from_file(add_tokens(tmp_path, small))
    assert tuned.added == {"Straße": FIRST, "<|laugh|>": FIRST + 1} and tuned.moved == (len(small), len(small) + 1)
    assert (tuned.eot, tuned.timestamp_begin, len(tuned)) == (FIRST + 2, small.timestamp_begin + 2, len(small) + 2)
    assert tuned.languages == {code: i + 2 for code, i in small.languages.items()}
    text = " the Straße, and"
    ids = tuned.encode(text)
    assert ids == [*small.encode(" the "), FIRST, *small.encode(", and")]
    assert tuned.decode([*ids, FIRST + 1, tuned.timestamp_begin]) == text
    assert tuned.split_to_words(ids)[0] == [" the", " Straße", ",", " and"]
    assert FIRST + 1 not in tuned.encode("<|laugh|>"), "names of special tokens are plain text"


def test_tokens_of_fine_tuning_are_saved(small: WhisperTokenizer, tmp_path: Path) -> None:
    tuned = WhisperTokenizer.from_file(add_tokens(tmp_path, small))
    assert tuned.fingerprint() != small.fingerprint()
    tuned.save(tmp_path / "tokenizer.json")
    again = WhisperTokenizer.from_file(tmp_path / "tokenizer.json")
    assert again.fingerprint() == tuned.fingerprint() and len(again) == len(tuned) and again.moved == ()
    text = " the Straße, and<|laugh|>"
    assert again.encode(text) == tuned.encode(text) and again.decode(tuned.encode(text)) == text
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    assert theirs.convert_tokens_to_ids(["Straße", "<|transcribe|>"]) == [FIRST, tuned.transcribe]
    assert theirs.encode(" the Straße", add_special_tokens=False) == tuned.encode(" the Straße")


def test_an_added_token_with_the_id_of_a_timestamp_is_refused(small: WhisperTokenizer, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"'Straße' has the id {small.timestamp_begin} of a timestamp"):
        WhisperTokenizer.from_file(add_tokens(tmp_path, small, first=small.timestamp_begin))


def test_a_list_of_tokens_is_enough(small: WhisperTokenizer, tmp_path: Path) -> None:
    """As vocabulary.json of CTranslate2: the merges follow from the order."""
    content = json.loads(add_tokens(tmp_path, small).read_text())
    ids = content["model"]["vocab"] | {token["content"]: token["id"] for token in content["added_tokens"]}
    again = WhisperTokenizer.from_tokens(sorted(ids, key=ids.__getitem__))
    assert again.fingerprint() == WhisperTokenizer.from_file(tmp_path / "tokenizer.json").fingerprint()
    with pytest.raises(ConfigError, match="it lacks"):
        WhisperTokenizer.from_tokens(["a", "b"])


def test_older_files_of_transformers(small: WhisperTokenizer, tmp_path: Path) -> None:
    small.save(tmp_path / "tokenizer.json")
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    added = {token["content"]: token["id"] for token in content["added_tokens"]}
    added["<|nocaptions|>"] = added.pop("<|nospeech|>")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in content["model"]["merges"])]
    (tmp_path / "vocab.json").write_text(json.dumps(content["model"]["vocab"]))
    (tmp_path / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "added_tokens.json").write_text(json.dumps(added))
    assert WhisperTokenizer.from_vocabulary(tmp_path).fingerprint() == small.fingerprint()


def test_a_missing_merge_is_restored(small: WhisperTokenizer, tmp_path: Path) -> None:
    """The tokenizer.json of the multilingual models lacks "Ġ t"."""
    small.save(tmp_path / "tokenizer.json")
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["model"]["merges"] = [" ".join(merge) for merge in content["model"]["merges"][1:]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    again = WhisperTokenizer.from_file(tmp_path / "tokenizer.json")
    assert again.encode(" the") == small.encode(" the")
    assert len(again.encode(" the")) == 1


def test_english_only_models_have_no_languages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.models.whisper.tokenizer._ENGLISH_EOT", FIRST)
    english = tokenizer(tmp_path)
    assert not english.multilingual and english.languages == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": {"vocab": {}, "merges": ["a"]}, "added_tokens": []}'])
def test_files_that_are_no_tokenizer(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        WhisperTokenizer.from_file(tmp_path / "tokenizer.json")


def test_errors_name_what_is_missing(small: WhisperTokenizer, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        WhisperTokenizer.from_file(tmp_path / "none.json")
    with pytest.raises(CheckpointError, match=r"vocab\.json"):
        WhisperTokenizer.from_vocabulary(tmp_path)
    write_tiktoken(tmp_path / "t.tiktoken").write_text("no base64 at all!\n")
    with pytest.raises(CheckpointError, match="tiktoken"):
        WhisperTokenizer.from_tiktoken(tmp_path / "t.tiktoken")
    with pytest.raises(ConfigError, match="transcribe"):
        WhisperTokenizer({"a": 0}, [], {"<|endoftext|>": 1, "<|startoftranscript|>": 2})


def test_hostile_files_are_refused_by_name(small: WhisperTokenizer, tmp_path: Path) -> None:
    small.save(tmp_path / "good.json")
    good = json.loads((tmp_path / "good.json").read_text())
    vocabulary, merges = good["model"]["vocab"], good["model"]["merges"]
    first = next(iter(vocabulary))

    def reason_of(**changes: object) -> str:
        content = good | {"model": good["model"] | changes} if "added_tokens" not in changes else good | changes
        (tmp_path / "tokenizer.json").write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match=r"tokenizer\.json") as caught:
            WhisperTokenizer.from_file(tmp_path / "tokenizer.json")
        assert len(str(caught.value)) < 600
        return str(caught.value)

    with_empty = {token: number for token, number in vocabulary.items() if token != "00"} | {"": vocabulary["00"]}
    shorter = good["model"] | {"vocab": with_empty, "merges": [merge for merge in merges if merge != ["0", "0"]]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(good | {"model": shorter}))
    WhisperTokenizer.from_file(tmp_path / "tokenizer.json")  # published files have an empty token
    assert "stands for no byte" in reason_of(vocab=vocabulary | {"\u4e00": 255})
    assert "is no token" in reason_of(merges=[*merges, ["q", "zz"]])
    assert "not a table" in reason_of(vocab=list(vocabulary))
    assert "has the id -1" in reason_of(vocab=vocabulary | {first: -1})
    assert "has the id 1000000000000" in reason_of(vocab=vocabulary | {first: 10**12})
    assert "has the id 'x'" in reason_of(vocab=vocabulary | {first: "x"})
    assert "the same id" in reason_of(vocab=vocabulary | {first: vocabulary["t"]})
    assert "characters" in reason_of(vocab=vocabulary | {"a" * 100_000: 3})
    assert "must name two tokens" in reason_of(merges=[[["a"], "b"]])
    assert "a merge" in reason_of(merges=[3])
    assert "has the id None" in reason_of(added_tokens=[{"content": "<|endoftext|>", "id": None}])
    assert reason_of(added_tokens=["<|endoftext|>"])
    assert reason_of(added_tokens={"content": 3})
    many = {"a" * 400 + f"{i:06d}": i for i in range(1000)}
    assert "too many long tokens" in reason_of(vocab=many)
    (tmp_path / "tokenizer.json").write_text("[" * 200_000)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: .*nested too deeply"):
        WhisperTokenizer.from_file(tmp_path / "tokenizer.json")
