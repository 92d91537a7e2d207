"""One of several processes of a HuBERT run, for test_hubert_processes.

torchrun --nproc-per-node 2 hubert_processes.py MANIFEST FOLDER
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from small import SMALL

from zoo.models.hubert.model import HubertConfig
from zoo.recipes.hubert.config import FeatureKind, HubertTrainConfig, Round
from zoo.recipes.hubert.run import train
from zoo.units import features, labels

NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "layerdrop": 0.0}


def run(manifest: Path, folder: Path) -> Path:
    """Two rounds, with labels in parts of ten seconds."""
    features.BLOCK_SECONDS, labels.PART_SECONDS = 5.0, 10.0
    config = HubertTrainConfig(out=str(folder), final_units=8)
    config.model = HubertConfig(**{**SMALL["hubert"], **NO_DROPOUT, "frontend": "logmel", "layers": 2})
    config.rounds = [Round(FeatureKind.mfcc, units=[16]), Round(FeatureKind.layer, units=[12])]
    config.data = replace(config.data, sources=str(manifest), batch_seconds=10.0)
    config.train = replace(config.train, steps=4, batches_per_step=2, log_every=1, validate_every=2, save_every=2)
    return train(config)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
