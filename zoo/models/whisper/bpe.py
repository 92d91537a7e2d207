"""Byte-level BPE as files hold it: the bytes that characters stand for, merges, and merges found from ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, AnyStr


def pairs(merges: Sequence[Any]) -> list[tuple[str, str]]:
    """Merges as pairs; files hold them as pairs or, before tokenizers 0.20, as two words in one string."""
    split = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in merges]
    if any(len(pair) != 2 for pair in split):
        raise ValueError("a merge must name two tokens")
    return [(str(a), str(b)) for a, b in split]


def complete(merges: list[tuple[str, str]], vocabulary: Mapping[str, int]) -> list[tuple[str, str]]:
    """The merges, and those of tokens that none leads to. A published multilingual file lacks the first of all (space
    and t), and so spells words that begin with a t as the model never saw them.
    """
    made = {a + b for a, b in merges}
    lost = {t: i for t, i in vocabulary.items() if len(t) > 1 and t not in made and not t.startswith("<|")}
    found = list(merges_of(vocabulary, lost))
    return sorted([*merges, *found], key=lambda pair: vocabulary[pair[0] + pair[1]]) if found else merges


def byte_of_character() -> dict[str, int]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in table.values()]
    return table | {chr(256 + place): byte for place, byte in enumerate(others)}


def merges_of(ranks: Mapping[AnyStr, int], tokens: Mapping[AnyStr, int]) -> Iterator[tuple[AnyStr, AnyStr]]:
    """The two parts that each longer token was joined from: what BPE makes of it with lower ranks alone."""
    for token, rank in sorted(tokens.items(), key=lambda item: item[1]):
        parts = [token[i : i + 1] for i in range(len(token))]
        while len(parts) > 2:
            joined = [ranks.get(a + b, rank) for a, b in pairwise(parts)]
            lowest = min(joined)
            if lowest >= rank:
                break
            place = joined.index(lowest)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        if len(parts) == 2:
            yield parts[0], parts[1]
