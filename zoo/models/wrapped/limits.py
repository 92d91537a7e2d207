"""Bounds on what files may say about a foreign model and its feature extractor, before transformers builds either."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zoo.audio.resampling import HIGHEST, LOWEST
from zoo.errors import ConfigError
from zoo.io.text import shorten
from zoo.validation import check_range

_MOST_REPEATED = 1_000_000  # layers, heads, experts, groups; a loop of transformers runs once for each
MOST = 10_000_000
"""Any other number, such as the samples of a feature extractor."""
_MOST_OF = {
    "feature_size": 2048,
    "num_mel_bins": 2048,
    "n_fft": 16_384,
    "fft_window_size": 16_384,
    "chunk_length": 3600,
    "max_length_s": 3600,
}


def check_model(settings: Mapping[str, Any]) -> None:
    """Raises ConfigError if config.json asks for far more layers, or other repeated parts, than any model has."""
    for key, value in _numbers(settings):
        if (key.startswith("num_") or "layers" in key or "depth" in key) and value > _MOST_REPEATED:
            raise ConfigError(f"{key} {shorten(value)}: at most {_MOST_REPEATED:,} are possible")


def check_extractor(settings: Mapping[str, Any]) -> None:
    """Raises ConfigError for a sampling_rate that is none, and for sizes that would take all time or memory."""
    for key, value in _numbers(settings):
        if key == "sampling_rate":
            check_range(key, value, LOWEST, HIGHEST)
        else:
            most = _MOST_OF.get(key, MOST)
            check_range(key, value, -most, most)


def _numbers(settings: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Every number in settings, with the name of its field; items of a list have the name of the list."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from _numbers(value, name)
    elif isinstance(settings, list):
        for value in settings:
            yield from _numbers(value, key)
    elif isinstance(settings, int | float) and not isinstance(settings, bool):
        yield key, settings
