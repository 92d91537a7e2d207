"""Text normalizers. They decide what counts as a word error, so a WER always needs the name of its normalizer.

raw      words as they are, separated by spaces
basic    lower case, no brackets, no punctuation; for any language
english  basic, with one form for contractions, numbers and British spellings; for English only

basic and english are Whisper's (Radford et al. 2022, appendix C), from transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import resources

from zoo.errors import ConfigError

NORMALIZERS = ("raw", "basic", "english")


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
    return whisper.BasicTextNormalizer(split_letters=split_letters)


def spellings() -> dict[str, str]:
    """British spelling -> American spelling."""
    lines = (resources.files("zoo.text") / "spelling.tsv").read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t", 1) for line in lines if not line.startswith("#"))
