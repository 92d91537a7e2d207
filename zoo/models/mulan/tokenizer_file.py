"""tokenizer.json of a BERT, read without the tokenizers library. See zoo.text.tokenizer_file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.errors import ConfigError
from zoo.io.text import shorten
from zoo.text.tokenizer_file import AddedTokenEntry, check_template, read_added, read_component, read_flag, read_tokens

KIND = "BERT"
LONGEST_WORD = 1000


@dataclass(frozen=True)
class TokenizerFile:
    """tokens in the order of their ids; options: further arguments of `Tokenizer.from_vocabulary`."""

    tokens: list[str]
    added: list[AddedTokenEntry]
    options: dict[str, Any]


def parse(content: Mapping[str, Any], start: str, end: str, unknown: str) -> TokenizerFile:
    """The tokenizer of a BERT from the content of its tokenizer.json.

    start, end, unknown: its special tokens. Raises ConfigError for whatever a BERT does not have.
    """
    model = read_component(content, "model", "WordPiece", KIND)
    normalizer = read_component(content, "normalizer", "BertNormalizer", KIND)
    read_component(content, "pre_tokenizer", "BertPreTokenizer", KIND)
    tokens = read_tokens(model.get("vocab"))
    for field, expected in (("unk_token", unknown), ("continuing_subword_prefix", "##")):
        if model.get(field, expected) != expected:
            raise ConfigError(f"model.{field} is {shorten(model[field])}; zoo reads {expected!r} only")
    longest = model.get("max_input_chars_per_word", 100)
    if not isinstance(longest, int) or not 1 <= longest <= LONGEST_WORD:
        raise ConfigError(f"model.max_input_chars_per_word is {shorten(longest)}; zoo reads 1 to {LONGEST_WORD}")
    if normalizer.get("clean_text", True) is not True:
        raise ConfigError("normalizer.clean_text is off; zoo reads tokenizers with it only")
    check_template(content.get("post_processor"), tokens, start, end, KIND)
    options = {
        "lowercase": read_flag(normalizer, "lowercase", True),
        "strip_accents": read_flag(normalizer, "strip_accents", None),
        "split_chinese": read_flag(normalizer, "handle_chinese_chars", True),
        "longest_word": longest,
    }
    return TokenizerFile(tokens, read_added(content.get("added_tokens", []), tokens), options)
