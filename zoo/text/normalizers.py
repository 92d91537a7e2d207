"""Text normalizers. They decide what counts as a word error, so a WER always needs the name of its normalizer.

raw      words as they are, separated by spaces
basic    lower case, no brackets, no punctuation; for any language
english  basic, with one form for contractions, numbers and British spellings; for English only

basic and english are Whisper's (Radford et al. 2022, appendix C), from transformers. In one point basic differs:
Whisper's replaces every combining mark with a space, which cuts words of Hindi, Tamil, Thai and many other languages
into pieces. Here marks stay with their letters. The points of Arabic and Hebrew, which most texts leave out, are
removed, and so are marks of emoji. Texts without combining marks give the same words as with Whisper's.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

from zoo.errors import ConfigError

NORMALIZERS = ("raw", "basic", "english")
DOT_ABOVE = "\u0307"
ARABIC_LETTER_PARTS = "\u0653\u0654\u0655"  # madda and hamza; other Arabic marks are vowels and signs for reading aloud


def normalizer(name: str, *, split_letters: bool = False) -> Callable[[str], str]:
    """The normalizer with a name of `NORMALIZERS`: text -> words separated by single spaces.

    split_letters: with "basic", every letter becomes a word, for languages without spaces between words.
    Raises ConfigError for an unknown name, and for split_letters with another normalizer.
    """
    if name not in NORMALIZERS:
        raise ConfigError(f"normalizer {name!r} is unknown; choose one of {', '.join(NORMALIZERS)}")
    if split_letters and name != "basic":
        raise ConfigError(f'split_letters goes with the normalizer "basic", not {name!r}')
    normalize = _raw if name == "raw" else _whisper(name, split_letters)
    return lambda text: " ".join(normalize(text).split())


def _raw(text: str) -> str:
    return text


@cache
def _whisper(name: str, split_letters: bool) -> Callable[[str], str]:
    from transformers.models.whisper import english_normalizer as whisper

    if name == "english":
        return whisper.EnglishTextNormalizer(spellings())
    basic = whisper.BasicTextNormalizer(split_letters=split_letters)
    clean: Any = remove_symbols
    basic.clean = clean
    return basic


def remove_symbols(text: str) -> str:
    """The text in form NFKC, with spaces for symbols and punctuation. Combining marks stay with their letters."""
    kept: list[str] = []
    for character in unicodedata.normalize("NFKC", text):
        category = unicodedata.category(character)
        if category[0] in "SP":
            kept.append(" ")
        elif category[0] != "M" or (kept and not kept[-1].isspace() and not _is_optional(character, kept[-1])):
            kept.append(character)
    return "".join(kept)


def _is_optional(mark: str, before: str) -> bool:
    """Whether a combining mark does not belong to the spelling. before: the character that it follows."""
    if mark == DOT_ABOVE and before == "i":
        return True  # the small form of the Turkish capital with a dot has two characters in Unicode
    name = unicodedata.name(mark, "")
    if name.startswith("ARABIC"):
        return mark not in ARABIC_LETTER_PARTS
    enclosing = unicodedata.category(mark) == "Me"  # the key around a digit
    return enclosing or name.startswith(("HEBREW", "VARIATION SELECTOR"))


def spellings() -> dict[str, str]:
    """British spelling -> American spelling."""
    lines = (resources.files("zoo.text") / "spelling.tsv").read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t", 1) for line in lines if not line.startswith("#"))
