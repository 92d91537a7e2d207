"""The folder of a run.

config.yaml      what was asked for          env.json        with which versions, commit and hardware
metrics.jsonl    one line per report          log.txt         what the console showed
tensorboard/     the same, for TensorBoard    skipped.jsonl   audio that could not be used, with reasons
checkpoints/     to go on from                best/, last/    models to use
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from zoo.config import to_yaml
from zoo.errors import ConfigError
from zoo.io.atomic import replacing_file
from zoo.io.git import git_info
from zoo.nn.precision import cpu_multiplies_bfloat16
from zoo.train import processes

CONFIG, ENVIRONMENT = "config.yaml", "env.json"
DATA = {"data": "the training data", "dev": "the dev data"}  # data set -> what messages call it
# What may differ between the two halves of a run: none of it changes what is computed, or it is asked of the result.
FREE = {"log_every", "validate_every", "save_every", "keep", "device", "workers", "cache_hours", "spectra", "out"}
FREE |= {"name", "zero_shot", "probes", "train_clips", "ridge_clips"}


def prepare(folder: Path, config: Any, data: Mapping[str, str], resuming: bool) -> None:
    """Record a run's configuration; where it goes on from a checkpoint, check that it is still the same.

    config: a dataclass. data: fingerprint of each data set of DATA that there is.
    Raises ConfigError naming every field that has changed.
    """
    now = yaml.safe_load(to_yaml(config))
    file = folder / CONFIG
    if resuming and file.is_file():
        changed = _changes(yaml.safe_load(file.read_text(encoding="utf-8")), now)
        known = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
        for name, what in DATA.items():
            # Runs from before a fingerprint covered what it covers now have the first part of it, or none.
            if not data.get(name, "").startswith(known.get(name, "")):
                changed.append(f"{what} (fingerprint of names, durations, and the texts where they are learned)")
        if changed:
            raise ConfigError(
                f"{folder} holds a run with another configuration, so it cannot go on exactly:\n  "
                + "\n  ".join(changed)
                + "\nuse another folder, or restore the values"
            )
    with replacing_file(file) as partial:
        partial.write_text(to_yaml(config), encoding="utf-8")
    with replacing_file(folder / ENVIRONMENT) as partial:
        partial.write_text(json.dumps(environment() | dict(data), indent=2) + "\n", encoding="utf-8")


def environment() -> dict[str, Any]:
    """Versions, commit and hardware, for whoever wants to repeat a run."""
    from zoo._version import __version__

    return {
        "command": sys.argv,
        "zoo": __version__,
        "commit": git_info("describe", "--always", "--dirty", "--abbrev=12"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bfloat16": cpu_multiplies_bfloat16(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "processes": processes.world(),
    }


def _changes(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Fields that differ, as "name: OLD there, NEW now"."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [f"{prefix}: {old!r} there, {new!r} now"]
    changed = []
    for key in sorted((old.keys() | new.keys()) - FREE):
        changed += _changes(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else key)
    return changed
