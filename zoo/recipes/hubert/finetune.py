"""CTC fine-tuning: a pre-trained HuBERT learns to transcribe speech. A run can be stopped and resumed.

python -m zoo.recipes.hubert.finetune                                           the mini HuBERT, a few minutes
python -m zoo.recipes.hubert.finetune --config finetune data.sources=my.jsonl init=hubert-base
zoo transcribe talk.wav --model runs/hubert/mini-ctc/best --out texts
"""

from __future__ import annotations

from pathlib import Path

from zoo.config import parse
from zoo.io.terminal import readable_errors
from zoo.recipes.hubert.ctc_config import CtcTrainConfig
from zoo.recipes.hubert.ctc_run import train

PRESETS = Path(__file__).parent / "ctc_presets"


def main() -> None:
    with readable_errors():
        print(train(parse(CtcTrainConfig, program="python -m zoo.recipes.hubert.finetune", presets=PRESETS)))


if __name__ == "__main__":
    main()
