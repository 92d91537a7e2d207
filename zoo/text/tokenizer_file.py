"""Parts of tokenizer.json, read without the tokenizers library, which ends the process for some damaged files.

Only what a kind of tokenizer has is understood; any other component is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import tokenizers

from zoo.errors import ConfigError
from zoo.io.text import shorten

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


@dataclass(frozen=True)
class AddedTokenEntry:
    """A token that is found in a text before words are split; flags as in `tokenizers.AddedToken`."""

    content: str
    id: int
    flags: Mapping[str, bool]


def read_component(content: Mapping[str, Any], name: str, expected: str, kind: str) -> Mapping[str, Any]:
    """The component `name` of type `expected`. kind: of tokenizer, for messages. Raises ConfigError."""
    part = content.get(name)
    if not isinstance(part, dict) or part.get("type", expected) != expected:
        found = part.get("type") if isinstance(part, dict) else part
        raise ConfigError(f"not a {kind} tokenizer: its {name} is {shorten(found)}, not a {expected}")
    return part


def read_tokens(vocabulary: Any) -> list[str]:
    """The tokens in the order of their ids. Raises ConfigError unless the ids are 0, 1, 2, ..."""
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


def read_flag(part: Mapping[str, Any], name: str, default: bool | None) -> bool | None:
    """A field that is true or false. Raises ConfigError."""
    value = part.get(name, default)
    if not isinstance(value, bool) and value is not default:
        raise ConfigError(f"{name} is {shorten(value)} instead of true or false")
    return value


def check_template(template: Any, tokens: list[str], start: str, end: str, kind: str) -> None:
    """Raises ConfigError unless a text becomes start, text, end. Templates of pairs are not used."""
    ids = {token: tokens.index(token) for token in (start, end) if token in tokens}
    expected = [{"SpecialToken": start}, {"Sequence": "A"}, {"SpecialToken": end}]
    fits = False
    if isinstance(template, dict) and template.get("type") in ("BertProcessing", "RobertaProcessing"):
        fits = all(template.get(key) == [token, ids.get(token)] for key, token in (("cls", start), ("sep", end)))
    elif isinstance(template, dict) and template.get("type") == "TemplateProcessing":
        fits = _pieces(template.get("single")) == expected
        special = template.get("special_tokens")
        for token, number in ids.items():
            entry = special.get(token) if isinstance(special, dict) else None
            fits = fits and isinstance(entry, dict) and entry.get("ids") == [number]
    if not fits:
        raise ConfigError(f"not a {kind} tokenizer: its post_processor must make {start} text {end}")


def _pieces(single: Any) -> list[dict[str, Any]]:
    """The pieces of a template without their segments, of which zoo has one."""
    pieces = []
    for piece in single if isinstance(single, list) else []:
        for kind, settings in piece.items() if isinstance(piece, dict) else []:
            pieces.append({kind: settings.get("id") if isinstance(settings, dict) else None})
    return pieces


def read_added(entries: Any, tokens: list[str]) -> list[AddedTokenEntry]:
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
        flags = {name: read_flag(entry, name, False) for name in _FLAGS}
        added.append(AddedTokenEntry(content, number, {name: bool(value) for name, value in flags.items()}))
    return added


def add_tokens(backend: tokenizers.Tokenizer, added: Sequence[AddedTokenEntry]) -> None:
    """Add tokens in the order of their ids. Raises ConfigError for one that gets another id."""
    for entry in added:
        token = tokenizers.AddedToken(entry.content, **entry.flags)
        if entry.flags["special"]:
            backend.add_special_tokens([token])
        else:
            backend.add_tokens([token])
        if backend.token_to_id(entry.content) != entry.id:
            raise ConfigError(f"the added token {shorten(entry.content)} cannot have the id {entry.id}")
