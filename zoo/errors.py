"""Every error that zoo raises on purpose. Each message says what was wrong, with which item, and what to do."""

from __future__ import annotations


class ZooError(Exception):
    """Base of all errors raised on purpose; anything else that escapes is a bug in zoo."""


class AudioError(ZooError, ValueError):
    """An audio item cannot be used.

    item: what the caller knows it by: a path, or its place in the list ("waveform 3").
    reason: what is wrong with it and, where there is a way out, what to do.
    """

    def __init__(self, item: object, reason: str) -> None:
        super().__init__(f"{item}: {reason}")
        self.item = str(item)
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        # Exceptions cross process borders by re-creation from their arguments, and ours has two.
        return type(self), (self.item, self.reason)


class CheckpointError(ZooError, ValueError):
    """A checkpoint is missing, damaged, of an unknown format, or does not fit the model."""


class ConfigError(ZooError, ValueError):
    """A configuration holds an unknown field or an impossible value."""


class ManifestError(ZooError, ValueError):
    """A manifest cannot be read; the message names file and line."""


class TrainingError(ZooError, RuntimeError):
    """A training run cannot go on: its loss is not finite, or its data or state cannot be used."""


class TrainingStopped(TrainingError):
    """A training run ended early because it was asked to; everything is saved."""


class UnknownModelError(ZooError, KeyError):
    """No model of that name is registered; the message lists near names."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the repr


class MissingDependencyError(ZooError, ImportError):
    """An optional package is needed; the message holds the pip command."""
