"""Byte-level BPE in files: the byte of each printable character, the merges, and merges computed from ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, AnyStr


def pairs(merges: Sequence[Any]) -> list[tuple[str, str]]:
    """Merges as pairs. Files hold pairs, or before tokenizers 0.20 two words in one string.

    Raises ValueError for a merge that does not name two tokens.
    """
    split = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in merges]
    if any(len(pair) != 2 for pair in split):
        raise ValueError("a merge must name two tokens")
    return [(str(a), str(b)) for a, b in split]


def complete(merges: list[tuple[str, str]], vocabulary: Mapping[str, int]) -> list[tuple[str, str]]:
    """The merges, and the missing ones for tokens that no merge makes.

    The published multilingual file lacks the first merge (space and t). Without it, words that begin with a t get
    tokens that the model never saw in training.
    """
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
    """The two parts of each token that is longer than one byte: the result of BPE with lower ranks only."""
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
