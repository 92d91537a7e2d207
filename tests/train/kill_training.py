"""Runs that are killed (SIGKILL) at chosen moments, for test_resume.

    python kill_training.py CORPUS FOLDER MOMENT...

A moment is FUNCTION:N, the N-th call of one of `MOMENTS` (see tests/helpers/dying.py); its run is in FOLDER/MOMENT.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import torch._dynamo
import torch.utils.tensorboard  # noqa: F401 (slow to import, both: once, for all forks)
from dying import attempt
from tiny_task import Tiny, loader, read_corpus

from zoo.io import atomic
from zoo.train import TrainConfig, fit, state
from zoo.train.log import Log
from zoo.train.optim import Optimizer

CONFIG = TrainConfig(steps=20, learning_rate=1e-2, log_every=3, validate_every=5, save_every=5)
MOMENTS: dict[str, tuple[Any, str]] = {
    "step": (Optimizer, "step"),
    "report": (Log, "report"),
    "tensors": (state, "save_file"),  # in turn: the task's, the optimizer's
    "rename": (atomic, "_move"),  # all is written, nothing is renamed
    "retain": (shutil, "rmtree"),
    "export": (Tiny, "export"),
}


def run(corpus: Path, folder: Path) -> None:
    entries = read_corpus(corpus)
    fit(Tiny(), loader(entries), loader(entries, shuffle=False), CONFIG, folder)


if __name__ == "__main__":
    corpus, folder, *moments = sys.argv[1:]
    attempt(moments, MOMENTS, lambda moment: run(Path(corpus), Path(folder) / moment))
