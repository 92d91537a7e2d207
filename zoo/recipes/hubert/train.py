"""HuBERT pre-training, from waveforms to re-clustered hidden units, in one command that can be stopped and resumed.

python -m zoo.recipes.hubert.train                                              the mini preset, a quarter of an hour
python -m zoo.recipes.hubert.train --config recipes/hubert/base.yaml data.source=my.jsonl out=runs/hubert/base
torchrun --nproc-per-node 8 -m zoo.recipes.hubert.train --config ...            on several GPUs
"""

from __future__ import annotations

from zoo.cli import readable_errors
from zoo.config import parse
from zoo.recipes.hubert.config import PretrainConfig
from zoo.recipes.hubert.rounds import pretrain


def main() -> None:
    with readable_errors():
        print(pretrain(parse(PretrainConfig, program="python -m zoo.recipes.hubert.train")))


if __name__ == "__main__":
    main()
