"""Byte-level BPE in files: the byte of each printable character, the merges, and merges computed from ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, AnyStr

from zoo.io.text import shorten

LONGEST_TOKEN = 512  # characters; those of the published vocabularies have up to 128
LARGEST_ID = 2**31 - 1
MOST_STEPS = 30_000_000  # of `merges_of`; the published vocabularies take some 2,500,000


def pairs(merges: Sequence[Any]) -> list[tuple[str, str]]:
    """Merges as pairs. Files hold pairs, or before tokenizers 0.20 two words in one string.

    Raises ValueError for a merge that does not name two tokens.
    """
    found = []
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise ValueError(f"a merge must name two tokens, and {shorten(merge)} does not")
        found.append((pair[0], pair[1]))
    return found


def check_tokens(vocabulary: Any) -> None:
    """Raises ValueError unless the vocabulary is a table from texts of a bounded length to ids."""
    if not isinstance(vocabulary, Mapping):
        raise ValueError(f"the vocabulary is a {type(vocabulary).__name__}, not a table from tokens to ids")
    for token, number in vocabulary.items():
        if not isinstance(token, str) or len(token) > LONGEST_TOKEN:
            raise ValueError(f"a token may have up to {LONGEST_TOKEN} characters, and {shorten(token)} has more")
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= LARGEST_ID:
            raise ValueError(f"the token {shorten(token)} has the id {shorten(number)}")


def check_bpe(vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> None:
    """Raises ValueError unless each token stands for bytes and has an id of its own, and each merge makes a token."""
    check_tokens(vocabulary)
    characters = set(byte_of_character())
    seen: dict[int, str] = {}
    for token, number in vocabulary.items():
        if not characters.issuperset(token):
            raise ValueError(f"the token {shorten(token)} has a character that stands for no byte")
        if number in seen:
            raise ValueError(f"the tokens {shorten(seen[number])} and {shorten(token)} have the same id {number}")
        seen[number] = token
    for first, second in merges:
        for token in (first, second, first + second):
            if token not in vocabulary:
                raise ValueError(f"a merge makes or takes {shorten(token)}, which is no token")


def complete(merges: list[tuple[str, str]], vocabulary: Mapping[str, int]) -> list[tuple[str, str]]:
    """The merges, and the missing ones for tokens that no merge makes.

    The published multilingual file lacks the first merge (space and t). Without it, words that begin with a t get
    tokens that the model never saw in training.

    Raises ValueError as `check_tokens`.
    """
    check_tokens(vocabulary)
    made = {a + b for a, b in merges}
    unreachable = {t: i for t, i in vocabulary.items() if len(t) > 1 and t not in made and not t.startswith("<|")}
    missing = list(merges_of(vocabulary, unreachable))
    if not missing:
        return merges
    return sorted([*merges, *missing], key=lambda pair: vocabulary[pair[0] + pair[1]])


def byte_of_character() -> dict[str, int]:
    """Printable character -> byte, for all 256 bytes, as in GPT-2."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in table.values()]
    return table | {chr(256 + i): byte for i, byte in enumerate(others)}


def merges_of(ranks: Mapping[AnyStr, int], tokens: Mapping[AnyStr, int]) -> Iterator[tuple[AnyStr, AnyStr]]:
    """The two parts of each token that is longer than one byte: the result of BPE with lower ranks only.

    Raises ValueError for so many long tokens that this would take minutes.
    """
    if sum(len(token) ** 2 for token in tokens) > MOST_STEPS:
        raise ValueError("too many long tokens")
    for token, rank in sorted(tokens.items(), key=lambda item: item[1]):
        parts = [token[i : i + 1] for i in range(len(token))]
        while len(parts) > 2:
            joined = [ranks.get(a + b, rank) for a, b in pairwise(parts)]
            lowest = min(joined)
            if lowest >= rank:
                break
            i = joined.index(lowest)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        if len(parts) == 2:
            yield parts[0], parts[1]
