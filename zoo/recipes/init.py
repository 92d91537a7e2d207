"""Models of recipes: the one at the start, and the default name of the trained one."""

from __future__ import annotations

from pathlib import Path

from zoo import loading, registry
from zoo.encoder import Encoder
from zoo.errors import ConfigError
from zoo.io.paths import expand_path


def load_init(init: str, hint: str) -> Encoder:
    """The model that `init` names, on the CPU; for a run folder, the model of that run.

    hint: advice for the error message. Raises ConfigError where `init` is neither a model nor an existing path, and the
    errors of `zoo.load`.
    """
    known = registry.is_registered(init) or init.startswith("hf:")
    if not known and not expand_path(init).exists():
        raise ConfigError(f"init {init!r}: no such model, folder or file; {hint}")
    return loading.load(init, device="cpu")


def name_of_run(family: str, out: str) -> str:
    """FAMILY-RUNFOLDER: never the name of a registered model."""
    return f"{family}-{Path(out).resolve().name}"
