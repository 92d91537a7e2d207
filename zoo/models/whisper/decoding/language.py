"""Which language a window is in: the language token that the decoder finds likeliest after <|startoftranscript|>.

Legend: W windows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from zoo.errors import ConfigError


def identify(logits: Tensor, languages: Mapping[str, int]) -> list[tuple[str, float]]:
    """logits (W, V) after <|startoftranscript|>; languages: code -> token -> for each window code and probability."""
    codes, ids = list(languages), list(languages.values())
    best, place = logits[:, ids].float().softmax(1).max(1)
    return [(codes[i], p) for i, p in zip(place.tolist(), best.tolist(), strict=True)]


def check_language(language: str | None, languages: Mapping[str, int], task: str) -> str | None:
    """The language to request: `language` where the model knows it, "en" for a model that knows no other.

    Raises ConfigError for a language or a task that the model does not have.
    """
    if not languages:
        if language not in (None, "en") or task != "transcribe":
            raise ConfigError(
                f"language {language!r}, task {task!r}: this model is English-only; leave both out (its code is en), "
                "or use another"
            )
        return "en"
    if language is not None and language not in languages:
        raise ConfigError(f"language {language!r} is unknown; use a code: {', '.join(languages)}")
    return language


def check_languages(
    language: str | Sequence[str | None] | None, languages: Mapping[str, int], task: str
) -> str | list[str | None] | None:
    """One language, or those of a list, each as `check_language` gives it."""
    if language is None or isinstance(language, str):
        return check_language(language, languages, task)
    return [check_language(code, languages, task) for code in language]


def one_for_each(language: str | Sequence[str | None] | None, count: int) -> list[str | None]:
    """A language for each of `count` recordings. Raises ConfigError where a list has another length."""
    if language is None or isinstance(language, str):
        return [language] * count
    if len(language) != count:
        raise ConfigError(f"language: {len(language)} codes for {count} recordings; give one, or one for each")
    return list(language)
