"""The tokenizer of CLAP's text tower: the byte-level BPE of RoBERTa (Liu et al. 2019, arXiv 1907.11692)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from zoo.errors import ConfigError
from zoo.io.small_files import read_json, read_text
from zoo.io.text import shorten
from zoo.text.bpe import check_bpe, pairs
from zoo.text.tokenizer import TextTokenizer
from zoo.text.tokenizer_file import (
    AddedTokenEntry,
    add_tokens,
    check_template,
    read_added,
    read_component,
    read_tokens,
)

PAD, UNKNOWN, START, END, MASK = "<pad>", "<unk>", "<s>", "</s>", "<mask>"
KIND = "RoBERTa"
MERGES = "merges.txt"
# Fields of the BPE model: the values that mean what zoo does.
_MODEL: dict[str, tuple[Any, ...]] = {
    "dropout": (None,),
    "unk_token": (None, UNKNOWN),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "fuse_unk": (False,),
    "byte_fallback": (False,),
    "ignore_merges": (False,),
}


class Tokenizer(TextTokenizer):
    """Text to the token ids of a RoBERTa: <s>, byte-level BPE, </s>.

    `load` reads tokenizer.json, or vocab.json with merges.txt beside it.
    """

    kind = KIND
    special = (PAD, UNKNOWN, START, END)
    vocabulary = "vocab.json"

    @classmethod
    def from_vocabulary(
        cls, tokens: Sequence[str], merges: Sequence[Any], added: Sequence[AddedTokenEntry] | None = None
    ) -> Tokenizer:
        """A RoBERTa tokenizer with these tokens, in the order of their ids, and merges, the most frequent first.

        merges: pairs of tokens, or two tokens in one string. added: tokens that are found before words are split;
        None = the special tokens. Raises ConfigError for merges of what is no token, and for a missing special token.
        """
        vocabulary = {token: number for number, token in enumerate(tokens)}
        try:
            joined = pairs(merges)
            check_bpe(vocabulary, joined)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        backend = tokenizers.Tokenizer(models.BPE(vocabulary, joined))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        if START in vocabulary and END in vocabulary:
            backend.post_processor = processors.RobertaProcessing(
                (END, vocabulary[END]), (START, vocabulary[START]), add_prefix_space=False
            )
        if added is not None:
            add_tokens(backend, added)
            return cls(backend)
        backend.add_special_tokens([token for token in (START, PAD, END, UNKNOWN) if token in vocabulary])
        if MASK in vocabulary:
            backend.add_special_tokens([tokenizers.AddedToken(MASK, lstrip=True, special=True)])
        return cls(backend)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Tokenizer:
        model = read_component(content, "model", "BPE", KIND)
        for field, allowed in _MODEL.items():
            if model.get(field, allowed[0]) not in allowed:
                raise ConfigError(f"model.{field} is {shorten(model[field])}; zoo reads {allowed[0]!r} only")
        splitter = read_component(content, "pre_tokenizer", "ByteLevel", KIND)
        for field, expected in (("add_prefix_space", False), ("use_regex", True)):
            if splitter.get(field, expected) is not expected:
                raise ConfigError(f"pre_tokenizer.{field} is {shorten(splitter[field])}; zoo reads {expected} only")
        if content.get("normalizer") is not None:
            raise ConfigError(f"not a {KIND} tokenizer: its normalizer is {shorten(content['normalizer'])}")
        tokens = read_tokens(model.get("vocab"))
        check_template(content.get("post_processor"), tokens, START, END, KIND)
        merges = model.get("merges")
        if not isinstance(merges, list):
            raise ConfigError("model.merges must be a list")
        return cls.from_vocabulary(tokens, merges, read_added(content.get("added_tokens", []), tokens))

    @classmethod
    def from_file(cls, file: Path) -> Tokenizer:
        merges = file.with_name(MERGES)
        if not merges.is_file():
            raise ConfigError(f"no {MERGES} beside it")
        lines = read_text(merges).splitlines()
        return cls.from_vocabulary(
            read_tokens(read_json(file)), [line for line in lines if line and not line.startswith("#version")]
        )
