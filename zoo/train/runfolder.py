"""The folder of a run.

config.yaml      the configuration            env.json        versions, commit and hardware
metrics.jsonl    one line for each report     log.txt         console output
tensorboard/     metrics for TensorBoard      skipped.jsonl   unusable audio, with reasons
checkpoints/     to resume from               best/, last/    exported models
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
DATA = {"data": "the training data", "dev": "the dev data"}  # data set -> its name in messages
# Fields that may change when a run is resumed: they do not change the training.
FREE = {"log_every", "validate_every", "save_every", "keep", "device", "workers", "cache_hours", "spectra", "out"}
FREE |= {"name", "zero_shot", "probes", "train_clips"}


def prepare(folder: Path, config: Any, data: Mapping[str, str], resuming: bool) -> None:
    """Record the configuration of a run. If the run resumes, check that the configuration is still the same.

    config: a dataclass. data: fingerprints of the data sets, with keys of DATA.
    Raises ConfigError naming every changed field.
    """
    current = yaml.safe_load(to_yaml(config))
    file = folder / CONFIG
    if resuming and file.is_file():
        changed = _changes(yaml.safe_load(file.read_text(encoding="utf-8")), current)
        recorded = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
        for name, description in DATA.items():
            if data.get(name) != recorded.get(name):
                changed.append(f"{description} (fingerprint of names and durations, and of texts if they are targets)")
        if changed:
            longer = any(line.startswith("train.steps:") for line in changed)
            raise ConfigError(
                f"{folder} has a run with another configuration, so it cannot be resumed exactly:\n  "
                + "\n  ".join(changed)
                + "\nrestore the values, or use another folder"
                + ("; to train longer, begin a new run there with the trained model as `init`" if longer else "")
            )
    with replacing_file(file) as partial:
        partial.write_text(to_yaml(config), encoding="utf-8")
    with replacing_file(folder / ENVIRONMENT) as partial:
        partial.write_text(json.dumps(environment() | dict(data), indent=2) + "\n", encoding="utf-8")


def environment() -> dict[str, Any]:
    """Versions, commit and hardware, for repeating a run."""
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
    """The fields that differ, as "name: OLD recorded, NEW now"."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [f"{prefix}: {old!r} recorded, {new!r} now"]
    changed = []
    for key in sorted((old.keys() | new.keys()) - FREE):
        changed += _changes(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else key)
    return changed
