"""The value of `init` in a recipe: a registered model, weights on the hub, a checkpoint, a file, or a run folder."""

from __future__ import annotations

from pathlib import Path

from zoo import checkpoint, registry
from zoo.errors import ConfigError


def model_source(init: str, exported: str, hint: str) -> str | Path:
    """The argument of zoo.load for `init`. For a run folder this is the model in its subfolder `exported`.

    hint: advice for the error message. Raises ConfigError where `init` is neither a model nor an existing path.
    """
    if registry.is_registered(init) or init.startswith("hf:"):
        return init
    path = Path(init).expanduser()
    if checkpoint.is_checkpoint(path / exported):
        return path / exported
    if not path.exists():
        raise ConfigError(f"init {init!r}: no such model, folder or file; {hint}")
    return path
