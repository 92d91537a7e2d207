"""Language identification: the likeliest language token after <|startoftranscript|>.

Legend: W windows, L languages, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from torch import Tensor

from zoo.errors import ConfigError
from zoo.text.languages import CODES, language_code


def probabilities(logits: Tensor, languages: Mapping[str, int]) -> Tensor:
    """(W, L) in the order of `languages`: code -> token. logits (W, V): after <|startoftranscript|>."""
    return logits[:, list(languages.values())].float().softmax(1)


def identify(logits: Tensor, languages: Mapping[str, int]) -> list[tuple[str, float]]:
    """Code and probability of the likeliest language of each window."""
    codes = list(languages)
    best, index = probabilities(logits, languages).max(1)
    return [(codes[i], p) for i, p in zip(index.tolist(), best.tolist(), strict=True)]


def check_language(language: Any, languages: Mapping[str, int], task: str) -> str | None:
    """The code of the language to request: `language`, a code or an English name, or "en" for an English-only model.

    Raises ConfigError for a language or a task that the model does not support.
    """
    if language is not None and not isinstance(language, str):
        raise ConfigError(f"language {language!r}: give a code such as en, a name such as English, or None")
    code = None if language is None else language_code(language)
    if not languages:
        if code not in (None, "en"):
            raise ConfigError(f"language {language!r}: this model is English-only; use a multilingual model")
        if task != "transcribe":
            raise ConfigError(f"task {task!r}: this model is English-only; use a multilingual model")
        return "en"
    if code is not None and code not in languages:
        raise ConfigError(
            f"language {language!r} is unknown{_similar(code)}; use a name or a code: {', '.join(languages)}"
        )
    return code


def _similar(language: str) -> str:
    similar = get_close_matches(language.lower(), CODES, n=1)
    return f"; did you mean {similar[0].title()}?" if similar else ""


def check_languages(
    language: str | Sequence[str | None] | None, languages: Mapping[str, int], task: str
) -> str | list[str | None] | None:
    """`check_language` for one language, or for each of a list. Raises ConfigError."""
    if isinstance(language, (list, tuple)):
        return [check_language(code, languages, task) for code in language]
    return check_language(language, languages, task)


def one_for_each(language: str | Sequence[str | None] | None, count: int) -> list[str | None]:
    """A language for each of `count` recordings. Raises ConfigError for a list of another length."""
    if language is None or isinstance(language, str):
        return [language] * count
    if len(language) != count:
        raise ConfigError(f"language: {len(language)} codes for {count} recordings; give one code, or one for each")
    return list(language)
