"""tokenizer.json of a BERT, read without the tokenizers library, which ends the process for some damaged files.

Only what a BERT has is understood; any other component is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from zoo.errors import ConfigError
from zoo.io.text import shorten

LONGEST_WORD = 1000
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


@dataclass(frozen=True)
class AddedTokenEntry:
    """A token that is found in a text before words are split; flags as in `tokenizers.AddedToken`."""

    content: str
    id: int
    flags: Mapping[str, bool]


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
    model = _component(content, "model", "WordPiece")
    normalizer = _component(content, "normalizer", "BertNormalizer")
    _component(content, "pre_tokenizer", "BertPreTokenizer")
    tokens = _tokens(model.get("vocab"))
    for field, expected in (("unk_token", unknown), ("continuing_subword_prefix", "##")):
        if model.get(field, expected) != expected:
            raise ConfigError(f"model.{field} is {shorten(model[field])}; zoo reads {expected!r} only")
    longest = model.get("max_input_chars_per_word", 100)
    if not isinstance(longest, int) or not 1 <= longest <= LONGEST_WORD:
        raise ConfigError(f"model.max_input_chars_per_word is {shorten(longest)}; zoo reads 1 to {LONGEST_WORD}")
    if normalizer.get("clean_text", True) is not True:
        raise ConfigError("normalizer.clean_text is off; zoo reads tokenizers with it only")
    _check_template(content.get("post_processor"), tokens, start, end)
    options = {
        "lowercase": _flag(normalizer, "lowercase", True),
        "strip_accents": _flag(normalizer, "strip_accents", None),
        "split_chinese": _flag(normalizer, "handle_chinese_chars", True),
        "longest_word": longest,
    }
    return TokenizerFile(tokens, _added(content.get("added_tokens", []), tokens), options)


def _component(content: Mapping[str, Any], name: str, kind: str) -> Mapping[str, Any]:
    part = content.get(name)
    if not isinstance(part, dict) or part.get("type", kind) != kind:
        found = part.get("type") if isinstance(part, dict) else part
        raise ConfigError(f"not a BERT tokenizer: its {name} is {shorten(found)}, not a {kind}")
    return part


def _tokens(vocabulary: Any) -> list[str]:
    if not isinstance(vocabulary, dict) or not vocabulary:
        raise ConfigError("model.vocab must be a table from tokens to ids")
    tokens: dict[int, str] = {}
    for token, number in vocabulary.items():
        if not isinstance(number, int) or isinstance(number, bool):
            raise ConfigError(f"model.vocab: {shorten(token)} has the id {shorten(number)}")
        tokens[number] = token
    if sorted(tokens) != list(range(len(vocabulary))):
        raise ConfigError(f"model.vocab: its {len(vocabulary)} ids are not 0 to {len(vocabulary) - 1}, each once")
    return [tokens[number] for number in range(len(tokens))]


def _flag(part: Mapping[str, Any], name: str, default: bool | None) -> bool | None:
    value = part.get(name, default)
    if not isinstance(value, bool) and value is not default:
        raise ConfigError(f"{name} is {shorten(value)} instead of true or false")
    return value


def _check_template(template: Any, tokens: list[str], start: str, end: str) -> None:
    """Raises ConfigError unless a text becomes start, text, end. Templates of pairs are not used."""
    ids = {token: tokens.index(token) for token in (start, end) if token in tokens}
    expected = [{"SpecialToken": start}, {"Sequence": "A"}, {"SpecialToken": end}]
    fits = False
    if isinstance(template, dict) and template.get("type") == "BertProcessing":
        fits = all(template.get(key) == [token, ids.get(token)] for key, token in (("cls", start), ("sep", end)))
    elif isinstance(template, dict) and template.get("type") == "TemplateProcessing":
        fits = _pieces(template.get("single")) == expected
        special = template.get("special_tokens")
        for token, number in ids.items():
            entry = special.get(token) if isinstance(special, dict) else None
            fits = fits and isinstance(entry, dict) and entry.get("ids") == [number]
    if not fits:
        raise ConfigError(f"not a BERT tokenizer: its post_processor must make {start} text {end}")


def _pieces(single: Any) -> list[dict[str, Any]]:
    """The pieces of a template without their segments, of which zoo has one."""
    pieces = []
    for piece in single if isinstance(single, list) else []:
        for kind, settings in piece.items() if isinstance(piece, dict) else []:
            pieces.append({kind: settings.get("id") if isinstance(settings, dict) else None})
    return pieces


def _added(entries: Any, tokens: list[str]) -> list[AddedTokenEntry]:
    """Added tokens in the order of their ids: those of the vocabulary, then those that follow it."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError("added_tokens must be a list of tables")
    if not all(isinstance(entry.get("id"), int) for entry in entries):
        raise ConfigError("added_tokens: each needs an integer as id")
    added = []
    following = len(tokens)
    for entry in sorted(entries, key=itemgetter("id")):
        content, number = entry.get("content"), entry["id"]
        known = 0 <= number < len(tokens) and tokens[number] == content
        if not isinstance(content, str) or not (known or number == following):
            raise ConfigError(f"added_tokens: {shorten(content)} has the id {shorten(number)}, which is not its own")
        following += not known
        flags = {name: _flag(entry, name, False) for name in _FLAGS}
        added.append(AddedTokenEntry(content, number, {name: bool(value) for name, value in flags.items()}))
    return added
