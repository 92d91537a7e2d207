"""The text tower compared with BertModel of transformers, the tokenizer with its BertTokenizerFast."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, models
from tokenizers import Tokenizer as Backend

import zoo
from zoo import corpora
from zoo.checkpoint import assign
from zoo.data import manifest
from zoo.errors import CheckpointError, ConfigError
from zoo.importers.bert import bert_arguments, bert_tensors
from zoo.models.mulan.text import SPECIAL, Tokenizer
from zoo.nn.bert import TextTower

SMALL = {"vocab_size": 99, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}
CAPTIONS = [
    "A calm solo piano piece in C major, slow and tender.",
    "Fast drums and a bass line; loud brass over it all!",
    "Träumerei: a dreamy waltz for violin & cello (120 bpm)",
    "the pianist plays, the violinist is playing, both played",
    "慢い曲 — naïve café jazz, drums drumming",
]


def reference(**config: int) -> transformers.BertModel:
    """A BertModel without weights of 0 or 1, which could hide errors."""
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(**config)).eval()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(0.02 * torch.randn_like(tensor))
    return model


def adopt(theirs: transformers.BertModel) -> TextTower:
    tower = TextTower(**bert_arguments(theirs.config.to_dict())).eval()
    assign(tower, bert_tensors(theirs.state_dict()), source="test")
    return tower


def small_tower(**changes: float) -> TextTower:
    torch.manual_seed(0)
    return TextTower(50, dim=32, layers=2, heads=4, ffn_dim=64, positions=20, **changes)


@pytest.mark.parametrize(
    "config", [SMALL, pytest.param({"vocab_size": 1000}, marks=pytest.mark.slow)], ids=["small", "base"]
)
@pytest.mark.parametrize("gradients", [False, True])
@torch.no_grad()
def test_states_are_those_of_bert(config: dict[str, int], gradients: bool) -> None:
    theirs = reference(**config)
    ours = adopt(theirs)
    ids = torch.randint(0, config["vocab_size"], (3, 40), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([40, 17, 2])
    mask = torch.arange(40) < lengths[:, None]
    expected = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state[:, 0]
    assert expected.std() > 0.5, "the reference must not be trivial"
    with torch.set_grad_enabled(gradients):  # two code paths
        assert (ours(ids, lengths) - expected).abs().max() <= 1e-4
        assert (ours(ids[:1], lengths[:1]) - theirs(ids[:1]).last_hidden_state[:, 0]).abs().max() <= 1e-4


def test_padding_does_not_matter() -> None:
    tower = small_tower().eval()
    ids = torch.randint(0, 50, (2, 9))
    lengths = torch.tensor([9, 4])
    corrupt = ids.clone()
    corrupt[1, 4:] = -7
    longer = torch.nn.functional.pad(ids, (0, 5))
    expected = tower(ids, lengths)
    torch.testing.assert_close(tower(corrupt, lengths), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(tower(longer, lengths), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(tower(ids[1:, :4], lengths[1:]), expected[1:], atol=1e-6, rtol=0)
    changed = ids.clone()
    changed[1, 3] = (changed[1, 3] + 1) % 50
    assert not torch.allclose(tower(changed, lengths)[1], expected[1], atol=1e-4)


def test_every_parameter_learns() -> None:
    tower = small_tower().train()
    states = tower(torch.randint(0, 50, (2, 20)), torch.tensor([20, 7]))
    (states * torch.randn(32)).sum().backward()
    untrained = [n for n, p in tower.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert untrained == []


def test_dropout_acts_in_training_only() -> None:
    tower = small_tower(dropout=0.5)
    ids, lengths = torch.randint(0, 50, (1, 9)), torch.tensor([9])
    assert not torch.equal(tower(ids, lengths), tower(ids, lengths))
    tower.eval()
    assert torch.equal(tower(ids, lengths), tower(ids, lengths))


def test_impossible_towers_and_texts_are_refused() -> None:
    with pytest.raises(ConfigError, match="heads 5"):
        TextTower(50, dim=32, heads=5)
    with pytest.raises(ConfigError, match="21 tokens, but the tower has 20 positions"):
        small_tower()(torch.zeros(1, 21, dtype=torch.long), torch.tensor([3]))


# Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(CAPTIONS * 3, vocab_size=160)


def write_vocabulary(tokenizer: Tokenizer, directory: Path) -> None:
    vocabulary = tokenizer._backend.get_vocab()
    (directory / "vocab.txt").write_text("".join(f"{t}\n" for t in sorted(vocabulary, key=vocabulary.__getitem__)))


@pytest.fixture(scope="module")
def theirs(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> transformers.BertTokenizerFast:
    directory = tmp_path_factory.mktemp("vocabulary")
    write_vocabulary(tokenizer, directory)
    return transformers.BertTokenizerFast.from_pretrained(directory)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.one_of(st.text(max_size=40), st.sampled_from(CAPTIONS)), min_size=1, max_size=4),
    size=st.integers(2, 30),
)
def test_ids_are_those_of_transformers(
    tokenizer: Tokenizer, theirs: transformers.BertTokenizerFast, texts: list[str], size: int
) -> None:
    ids, lengths = tokenizer.encode(texts, size)
    expected = theirs(texts, padding=True, truncation=True, max_length=size, return_tensors="pt")
    assert torch.equal(ids, expected["input_ids"])
    assert torch.equal(lengths, expected["attention_mask"].sum(1))


def test_special_tokens_and_truncation(tokenizer: Tokenizer) -> None:
    ids, lengths = tokenizer.encode(["piano", "", CAPTIONS[0]], 6)
    assert ids.dtype == lengths.dtype == torch.int64
    pad, unknown, start, end = range(4)
    assert ids[:, 0].tolist() == [start] * 3
    assert lengths.tolist()[1:] == [2, 6] and ids[2, -1] == end
    assert ids[1].tolist() == [start, end, pad, pad, pad, pad]
    assert tokenizer.encode(["\N{SNOWMAN}"], 9)[0].tolist() == [[start, unknown, end]]


def test_training_is_deterministic_and_independent_of_order() -> None:
    shuffled = CAPTIONS * 3
    random.Random(0).shuffle(shuffled)
    expected = Tokenizer.train(CAPTIONS * 3, vocab_size=130)
    assert len(expected) == 130
    for captions in [CAPTIONS * 3] * 10 + [shuffled]:
        assert Tokenizer.train(captions, vocab_size=130)._backend.to_str() == expected._backend.to_str()


def test_trained_vocabulary_joins_frequent_pairs(tokenizer: Tokenizer) -> None:
    vocabulary = tokenizer._backend.get_vocab()
    assert [t for t, i in sorted(vocabulary.items(), key=lambda item: item[1])][:5] == list(SPECIAL)
    assert sorted(vocabulary.values()) == list(range(len(tokenizer))) and len(tokenizer) <= 160
    assert "drums" in vocabulary and "##ing" in vocabulary
    assert tokenizer.encode(["drums"], 9)[1].item() == 3


def test_a_vocabulary_must_hold_every_character() -> None:
    with pytest.raises(ConfigError, match=r"vocab_size 20: the captions need \d+ tokens"):
        Tokenizer.train(CAPTIONS, vocab_size=20)


def test_saved_tokenizer_is_read_by_us_and_by_transformers(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]
    expected = tokenizer.encode(CAPTIONS, 64)[0]
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        assert torch.equal(Tokenizer.load(path).encode(CAPTIONS, 64)[0], expected)
    generic = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), pad_token="[PAD]")
    assert torch.equal(generic(CAPTIONS, padding=True, return_tensors="pt")["input_ids"], expected)


def test_padding_and_truncation_of_a_file_are_ignored(tokenizer: Tokenizer, tmp_path: Path) -> None:
    backend = Backend.from_str(tokenizer._backend.to_str())
    backend.enable_truncation(4)
    backend.enable_padding(length=50)
    backend.save(str(tmp_path / "tokenizer.json"))
    assert torch.equal(Tokenizer.load(tmp_path).encode(CAPTIONS, 64)[0], tokenizer.encode(CAPTIONS, 64)[0])


def test_cased_vocabularies_stay_cased(tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_vocabulary(tokenizer, tmp_path)
    assert torch.equal(Tokenizer.load(tmp_path).encode(["Drums"], 9)[0], tokenizer.encode(["drums"], 9)[0])
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    assert not torch.equal(Tokenizer.load(tmp_path).encode(["Drums"], 9)[0], tokenizer.encode(["drums"], 9)[0])


@pytest.mark.parametrize(
    "config",
    [
        {"do_lower_case": False, "strip_accents": True},
        {"do_lower_case": True, "strip_accents": False},
        {"tokenize_chinese_chars": False},
        {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True},
    ],
)
def test_letters_are_normalized_as_configured(config: dict[str, bool | None], tmp_path: Path) -> None:
    tokens = [*SPECIAL, "cafe", "café", "Café", "日", "本", "日本", "##本"]
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "BertTokenizer"}))
    texts = ["café", "Café", "日本"]
    theirs = transformers.BertTokenizerFast.from_pretrained(tmp_path)
    assert Tokenizer.load(tmp_path).encode(texts, 9)[0].tolist() == theirs(texts, padding=True)["input_ids"]


def test_other_tokenizers_are_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no tokenizer there; expected tokenizer\.json or vocab\.txt"):
        Tokenizer.load(tmp_path)
    for text, message in (("a\nb\n", r"lacks \[PAD\]"), ("\n".join([*SPECIAL, "a", "b", "a"]), "'a' twice")):
        (tmp_path / "vocab.txt").write_text(text)
        with pytest.raises(CheckpointError, match=rf"vocab\.txt: .*{message}"):
            Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text(tokenizer._backend.to_str()[:-100])
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: cannot be read"):
        Tokenizer.load(tmp_path)
    bare = Backend(models.WordPiece({token: i for i, token in enumerate(SPECIAL)}, unk_token="[UNK]"))
    with pytest.raises(ConfigError, match=r"output must be \[CLS\]"):
        Tokenizer(bare)


@pytest.mark.parametrize("texts", ["piano", [], ["piano", 3]])
def test_texts_must_be_a_list_of_strings(tokenizer: Tokenizer, texts: object) -> None:
    with pytest.raises(ConfigError, match="texts"):
        tokenizer.encode(texts, 9)
    with pytest.raises(ConfigError, match="size 1"):
        tokenizer.encode(["piano"], 1)


@pytest.mark.slow
def test_the_packaged_vocabulary_comes_from_the_captions_of_the_corpus(tmp_path: Path) -> None:
    entries = manifest.read(corpora.build("music", "small", tmp_path / "music", progress=False))
    captions = [caption for entry in entries if entry.split == "train" for caption in entry.captions]
    packaged = zoo.create("mulan-mini").tokenizer
    assert Tokenizer.train(captions, 1000).fingerprint() == packaged.fingerprint()


def write_file(tokenizer: Tokenizer, folder: Path, **changes: object) -> None:
    """Write tokenizer.json with changed components; "model.vocab" is a field of one."""
    content = json.loads(tokenizer._backend.to_str())
    for name, value in changes.items():
        component, _, field = name.partition("__")
        if field:
            content[component][field] = value
        else:
            content[component] = value
    (folder / "tokenizer.json").write_text(json.dumps(content))


BOMB = [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 30


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////w=="}}, "normalizer is 'Precompiled'"),
        ({"normalizer": {"type": "Sequence", "normalizers": BOMB}}, "normalizer is 'Sequence'"),
        ({"normalizer": None}, "normalizer is None"),
        ({"normalizer__lowercase": "yes"}, "lowercase is 'yes'"),
        ({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}}}, "pre_tokenizer is 'Split'"),
        ({"model__type": "Unigram"}, "model is 'Unigram'"),
        ({"model__max_input_chars_per_word": 10**12}, "max_input_chars_per_word is 1000000000000"),
        ({"model__unk_token": "[MASK]"}, "unk_token is"),
        ({"model__continuing_subword_prefix": ""}, "continuing_subword_prefix is"),
        ({"model__vocab": {"a": 10**9}}, "ids are not 0 to 0"),
        ({"model__vocab": ["a"]}, "must be a table"),
        ({"model__vocab": {"a": 0, "b": 0}}, "each once"),
        ({"post_processor": None}, "post_processor must make"),
        ({"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}]}}, "must make"),
        ({"post_processor__special_tokens": {}}, "post_processor must make"),
        ({"post_processor__single": [[]]}, "post_processor must make"),
        ({"added_tokens": [{"id": 10**6, "content": "x"}]}, "has the id 1000000"),
        ({"added_tokens": [{"id": 0, "content": "[CLS]"}]}, "has the id 0"),
        ({"added_tokens": 3}, "added_tokens"),
        ({"added_tokens": [3]}, "added_tokens"),
        ({"added_tokens": [{"id": "0"}]}, "added_tokens"),
    ],
)
def test_components_that_no_bert_has_are_refused(
    tokenizer: Tokenizer, tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    """The tokenizers library panics on some of them, ends the process, or never comes back."""
    write_file(tokenizer, tmp_path, **changes)
    with pytest.raises(CheckpointError, match=rf"tokenizer\.json: .*{reason}"):
        Tokenizer.load(tmp_path)


def test_a_file_without_changes_gives_the_same_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_file(tokenizer, tmp_path)
    assert Tokenizer.load(tmp_path).fingerprint() == tokenizer.fingerprint()
    number = {token: tokenizer._backend.token_to_id(token) for token in ("[CLS]", "[SEP]")}
    older = {"type": "BertProcessing", "cls": ["[CLS]", number["[CLS]"]], "sep": ["[SEP]", number["[SEP]"]]}
    write_file(tokenizer, tmp_path, post_processor=older)
    assert torch.equal(Tokenizer.load(tmp_path).encode(CAPTIONS, 64)[0], tokenizer.encode(CAPTIONS, 64)[0])


def test_added_tokens_keep_their_ids_and_flags(tokenizer: Tokenizer, tmp_path: Path) -> None:
    backend = Backend.from_str(tokenizer._backend.to_str())
    backend.add_tokens([AddedToken("BPM", single_word=True, normalized=False)])
    backend.add_special_tokens([AddedToken("[TAG]", lstrip=True)])
    backend.save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.load(tmp_path)
    assert len(loaded) == len(tokenizer) + 2
    for text in ("fast BPM drums [TAG]", "fastBPM", "calm [TAG] bpm"):
        assert loaded.encode([text], 64)[0][0].tolist() == backend.encode(text).ids


def test_a_tokenizer_with_more_ids_than_embeddings_is_refused(tmp_path: Path) -> None:
    model = zoo.load("mulan")
    model.save(tmp_path / "model")
    backend = Backend.from_file(str(tmp_path / "model" / "tokenizer.json"))
    backend.add_tokens([f"word{i}" for i in range(model.config.vocab_size)])
    backend.save(str(tmp_path / "model" / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"the tokenizer has \d+ ids, but the weights have"):
        zoo.load(tmp_path / "model")
