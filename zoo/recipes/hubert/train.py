"""HuBERT pre-training, from waveforms to re-clustered hidden units, in one command. It can be stopped and resumed.

python -m zoo.recipes.hubert.train                                              the mini preset, a quarter of an hour
python -m zoo.recipes.hubert.train --config base data.sources=my.jsonl out=runs/hubert/base
torchrun --nproc-per-node 8 -m zoo.recipes.hubert.train --config ...            on several GPUs
"""

from __future__ import annotations

from pathlib import Path

from zoo.config import parse
from zoo.io.terminal import readable_errors
from zoo.recipes.hubert.config import HubertTrainConfig
from zoo.recipes.hubert.run import train

PRESETS = Path(__file__).parent / "presets"


def main() -> None:
    with readable_errors():
        print(train(parse(HubertTrainConfig, program="python -m zoo.recipes.hubert.train", presets=PRESETS)))


if __name__ == "__main__":
    main()
