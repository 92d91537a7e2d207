"""One of several processes of a MuLan run, and runs that are killed, for test_mulan_processes.

torchrun --nproc-per-node 2 mulan_processes.py MANIFEST FOLDER       one of two processes
python mulan_processes.py MANIFEST FOLDER MOMENT...                  one killed run a moment, see tests/helpers/dying.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch._dynamo
import torch.utils.tensorboard  # noqa: F401 (slow to import, both: once, for all forks)
from dying import attempt
from tones import tones_config

from zoo.io import atomic
from zoo.recipes.mulan.run import train
from zoo.recipes.mulan.task import Contrast
from zoo.train.optim import Optimizer

MOMENTS: dict[str, tuple[Any, str]] = {
    "step": (Optimizer, "step"),
    "embed": (Contrast, "embed"),  # eight times a step: four micro-batches, each twice; and in validation
    "rename": (atomic, "_move"),
    "export": (Contrast, "export"),
}


def run(manifest: Path, folder: Path) -> str:
    # The AST has no batch normalization, so any assignment of micro-batches to processes gives the same result.
    return train(tones_config(manifest, folder, "ast", steps=4, batches_per_step=4, validate_every=2))


if __name__ == "__main__":
    manifest, folder, *moments = sys.argv[1:]
    if moments:
        attempt(moments, MOMENTS, lambda moment: run(Path(manifest), Path(folder) / moment))
    else:
        run(Path(manifest), Path(folder))
