"""MuLan training, from clips with captions to an evaluated model, in one command. A run can be resumed.

python -m zoo.recipes.mulan.train                                               the mini preset
python -m zoo.recipes.mulan.train --config resnet50 data.sources=my.jsonl out=runs/mulan/resnet50
torchrun --nproc-per-node 8 -m zoo.recipes.mulan.train --config ...             on several GPUs, which share
                                                                                train.batches_per_step
"""

from __future__ import annotations

from pathlib import Path

from zoo.config import parse
from zoo.io.terminal import readable_errors
from zoo.recipes.mulan.config import MulanTrainConfig
from zoo.recipes.mulan.run import train

PRESETS = Path(__file__).parent / "presets"


def main() -> None:
    with readable_errors():
        print(train(parse(MulanTrainConfig, program="python -m zoo.recipes.mulan.train", presets=PRESETS)))


if __name__ == "__main__":
    main()
