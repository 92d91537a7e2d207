"""One of several processes of a run, for test_processes.

torchrun --nproc-per-node 2 two_processes.py CORPUS FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from tiny_task import Tiny, loader, read_corpus

from zoo.train import TrainConfig, fit

CONFIG = TrainConfig(steps=12, batches_per_step=4, learning_rate=1e-2, log_every=1, validate_every=6, save_every=6)


def run(corpus: Path, folder: Path) -> None:
    entries = read_corpus(corpus)
    fit(Tiny(), loader(entries, batch_seconds=2.0), loader(entries, batch_seconds=2.0, shuffle=False), CONFIG, folder)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
