"""What a run was asked for: checked options, and settings that a later run must share."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from zoo import registry
from zoo.audio import silero
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError
from zoo.text.formats import SUBTITLES, SubtitleStyle
from zoo.text.languages import language_code


@runtime_checkable
class Transcriber(Protocol):
    """A model that transcribes speech."""

    def transcribe(self, waves: Any, sample_rate: int | None = None, **options: Any) -> Any:
        """A Transcript for each recording of a list. Options are checked before any recording is read."""
        ...


def complete_options(options: dict[str, Any], formats: tuple[str, ...], style: SubtitleStyle) -> dict[str, Any]:
    """The options of the model: codes of languages for names, and word timestamps if subtitles show words.

    Raises ConfigError for a style without a format that has it.
    """
    if style.needs_words and not set(SUBTITLES) & set(formats):
        raise ConfigError(
            f"highlight_words, max_words_per_line: these are for subtitles, not for {', '.join(formats)}; add the "
            "format srt or vtt"
        )
    options = dict(options)
    if isinstance(options.get("language"), str):
        options["language"] = language_code(options["language"])
    if style.needs_words:
        options["word_timestamps"] = True
    return options


def check_options(model: Encoder, options: dict[str, Any]) -> None:
    """Raises ConfigError for a model that cannot transcribe, and for options that it does not support."""
    if not isinstance(model, Transcriber):
        raise ConfigError(f"{model.name or model.family} cannot transcribe; use a Whisper, or a HuBERT with a CTC head")
    if isinstance(options.get("language"), (list, tuple)):
        raise ConfigError(f"language {options['language']}: give one code for all recordings, or none")
    with suppress(AudioError):  # an empty list of recordings is an error, but options are checked before
        model.transcribe([], model.sample_rate, **options)


def settings_of(model: Encoder, dtype: str, options: dict[str, Any]) -> dict[str, Any]:
    """What must be the same in all runs into a folder."""
    plain = (bool, int, float, str, type(None))
    values = {name: value if isinstance(value, plain) else repr(value) for name, value in options.items()}
    if getattr(model, "detects_speech", False) and options.get("vad", "auto") == "auto":
        values["vad"] = "silero" if silero.available() else "energy"  # what auto means depends on the machine
    return {"model": model.fingerprint(), "dtype": dtype, "options": values}


def note_on_words(options: dict[str, Any], formats: tuple[str, ...], style: SubtitleStyle) -> str:
    """Where the timestamps of words go if subtitles do not show them, else ""."""
    subtitles = [name for name in formats if name in SUBTITLES]
    if not options.get("word_timestamps") or style.needs_words or not subtitles:
        return ""
    return (
        f"timestamps of words are in json; for words in {' and '.join(subtitles)} add --highlight-words or "
        "--max-words-per-line"
    )


def describe(model: Encoder, source: str | Path | Encoder) -> str:
    """Name of a model for a log line, with its path and the registered model of the same structure."""
    name = model.name or model.family
    details = []
    similar = same_structure(model)
    if similar is not None and similar != name:
        details.append(f"built like {similar}")
    if isinstance(source, (str, Path)) and not registry.is_registered(str(source)):
        details.append(str(source))
    return f"{name} ({', '.join(details)})" if details else name


def same_structure(model: Encoder) -> str | None:
    """The registered model of the same family and sizes."""
    sizes = _sizes(model.config)
    for name in registry.list_models():
        card = registry.info(name)
        if card.family == model.family and _sizes(model.Config(**card.config)) == sizes:
            return name
    return None


def _sizes(config: Any) -> dict[str, int]:
    """Widths, layers and other numbers of a configuration."""
    values = dataclasses.asdict(config)
    return {name: value for name, value in values.items() if isinstance(value, int)}
