"""Random sentences from a grammar: a text file of rules and word lists for each language.

    name = one {noun/2} | 3* another    a rule: alternatives (3*: three times as likely); {list/2}: a word's second form
    noun: dog/dogs cat/cats             a word list; words may have several forms, and _ for a space
    ~ \\ba (?=[aeiou]) => an            replacements in the finished sentence, in order
    # comment

Definitions with the same name are joined. Braces may be part of a word: Sch{x}e.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from random import Random

_REFERENCE = re.compile(r"\{([\w.]+)(?:/(\d))?\}")
_WEIGHT = re.compile(r"(\d+)\* ")


class Grammar:
    """rules: name -> alternatives; words: name -> entries, each a tuple of forms; fixes: (pattern, replacement)."""

    def __init__(self, text: str) -> None:
        self.rules: dict[str, list[str]] = {}
        self.words: dict[str, list[tuple[str, ...]]] = {}
        self.fixes: list[tuple[re.Pattern[str], str]] = []
        for line in text.splitlines():
            if line.startswith("~ "):
                pattern, _, replacement = line[2:].partition(" =>")
                self.fixes.append((re.compile(pattern), replacement.removeprefix(" ")))
            elif match := re.match(r"([\w.]+) = (.*)", line):
                self.rules.setdefault(match[1], []).extend(_alternatives(match[2]))
            elif match := re.match(r"([\w.]+): (.*)", line):
                entries = (tuple(entry.replace("_", " ").split("/")) for entry in match[2].split())
                self.words.setdefault(match[1], []).extend(entries)
            elif line.strip() and not line.startswith("#"):
                raise ValueError(f"neither a rule nor a word list: {line!r}")

    def expand(self, start: str, rng: Random, **slots: str) -> str:
        """A random expansion of the rule `start`, with a capital letter at the start of each sentence.

        slots: name -> text to insert.
        """
        text = self._resolve(start, 1, rng, slots)
        for pattern, replacement in self.fixes:
            text = pattern.sub(replacement, text)
        return re.sub(r"(^|[.!?] )(\W*)(\w)", lambda match: match[1] + match[2] + match[3].upper(), text)

    def _resolve(self, name: str, form: int, rng: Random, slots: Mapping[str, str]) -> str:
        if name in slots:
            return slots[name]
        if name in self.words:
            return rng.choice(self.words[name])[form - 1]
        return _REFERENCE.sub(
            lambda match: self._resolve(match[1], int(match[2] or 1), rng, slots), rng.choice(self.rules[name])
        )


def _alternatives(text: str) -> list[str]:
    result = []
    for alternative in text.split(" | "):
        weight = _WEIGHT.match(alternative)
        result += [alternative[weight.end() :] if weight else alternative] * (int(weight[1]) if weight else 1)
    return result


@cache
def load(name: str) -> Grammar:
    """A packaged grammar: a language ("en", "de", "fr", "es", "it") or "captions"."""
    return Grammar((files("zoo.corpora") / "grammars" / f"{name}.txt").read_text(encoding="utf-8"))
