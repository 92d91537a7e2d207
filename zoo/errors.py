"""All errors that zoo raises on purpose. Each message states what was wrong, with which item, and what to do."""

from __future__ import annotations


class ZooError(Exception):
    """Base of all errors raised on purpose. Any other exception is a bug in zoo."""


class AudioError(ZooError, ValueError):
    """An audio item cannot be used.

    item: the path of the item, or its index in the list ("waveform 3").
    reason: what is wrong with it and, if possible, what to do.
    """

    def __init__(self, item: object, reason: str) -> None:
        super().__init__(f"{item}: {reason}")
        self.item = str(item)
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        # Pickle rebuilds an exception from `args`, and that holds one string where __init__ needs two.
        return type(self), (self.item, self.reason)


class CheckpointError(ZooError, ValueError):
    """A checkpoint is missing, damaged, in an unknown format, or does not fit the model."""


class ConfigError(ZooError, ValueError):
    """A configuration has an unknown field or an invalid value."""


class ManifestError(ZooError, ValueError):
    """A manifest cannot be read. The message names file and line."""


class TrainingError(ZooError, RuntimeError):
    """A training run cannot continue: its loss is not finite, or its data or state cannot be used."""


class TrainingStopped(TrainingError):
    """A training run ended early on request. Its state is saved. signal: number of the signal that ended it."""

    def __init__(self, message: str, signal: int = 15) -> None:
        super().__init__(message)
        self.signal = signal

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return type(self), (str(self), self.signal)


class UnknownModelError(ZooError, KeyError):
    """No model of that name is registered. The message lists similar names."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the repr


class MissingDependencyError(ZooError, ImportError):
    """An optional package is not installed. The message contains the pip command."""


def install(extra: str) -> str:
    """The command that installs an extra, for messages."""
    return f"pip install 'audiozoo[{extra}]' (in a clone of zoo: pip install '.[{extra}]')"
