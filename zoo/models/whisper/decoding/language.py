"""Language identification: the likeliest language token after <|startoftranscript|>.

Legend: W windows, L languages, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from zoo.errors import ConfigError


def probabilities(logits: Tensor, languages: Mapping[str, int]) -> Tensor:
    """(W, L) in the order of `languages`: code -> token. logits (W, V): after <|startoftranscript|>."""
    return logits[:, list(languages.values())].float().softmax(1)


def identify(logits: Tensor, languages: Mapping[str, int]) -> list[tuple[str, float]]:
    """Code and probability of the likeliest language of each window."""
    codes = list(languages)
    best, index = probabilities(logits, languages).max(1)
    return [(codes[i], p) for i, p in zip(index.tolist(), best.tolist(), strict=True)]


def check_language(language: str | None, languages: Mapping[str, int], task: str) -> str | None:
    """The language to request: `language`, or "en" for an English-only model.

    Raises ConfigError for a language or a task that the model does not support.
    """
    if not languages:
        if language not in (None, "en") or task != "transcribe":
            raise ConfigError(
                f"language {language!r}, task {task!r}: this model is English-only; leave out language and task, "
                "or use a multilingual model"
            )
        return "en"
    if language is not None and language not in languages:
        raise ConfigError(f"language {language!r} is unknown; use a code: {', '.join(languages)}")
    return language


def check_languages(
    language: str | Sequence[str | None] | None, languages: Mapping[str, int], task: str
) -> str | list[str | None] | None:
    """`check_language` for one language, or for each of a list. Raises ConfigError."""
    if language is None or isinstance(language, str):
        return check_language(language, languages, task)
    return [check_language(code, languages, task) for code in language]


def one_for_each(language: str | Sequence[str | None] | None, count: int) -> list[str | None]:
    """A language for each of `count` recordings. Raises ConfigError for a list of another length."""
    if language is None or isinstance(language, str):
        return [language] * count
    if len(language) != count:
        raise ConfigError(f"language: {len(language)} codes for {count} recordings; give one code, or one for each")
    return list(language)
