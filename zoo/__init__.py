"""zoo: audio encoders for speech and music behind one call, `embed(waveform)`.

>>> import zoo
>>> model = zoo.load("hubert-base")
>>> vector = model.embed("speech.wav")        # (768,)

Importing this package is cheap: torch is imported when the first model is built.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zoo._version import __version__
from zoo.cards import ModelCard
from zoo.loading import load, wrap
from zoo.registry import create, info, list_models, register

if TYPE_CHECKING:
    from zoo.encoder import Encoder, Frames

__all__ = ["Encoder", "Frames", "ModelCard", "__version__", "create", "info", "list_models", "load", "register", "wrap"]


_MODULES = ("adapters", "audio", "benchmarks", "corpora", "data", "embed", "search", "testing", "transcribe", "units")
"""Imported when they are first used: `import zoo; zoo.audio.load(...)` works."""


def __dir__() -> list[str]:
    return [*__all__, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in ("Encoder", "Frames"):
        return getattr(import_module("zoo.encoder"), name)
    if name in _MODULES:
        return import_module(f"zoo.{name}")
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")
