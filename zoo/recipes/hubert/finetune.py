"""CTC fine-tuning: a pre-trained HuBERT learns to write what is said. It can be stopped and resumed.

python -m zoo.recipes.hubert.finetune                                           the mini HuBERT, a few minutes
python -m zoo.recipes.hubert.finetune --config recipes/hubert/finetune.yaml data.source=my.jsonl init=hubert-base
zoo transcribe talk.wav --model runs/hubert/mini-ctc/best --out texts
"""

from __future__ import annotations

from zoo.cli import readable_errors
from zoo.config import parse
from zoo.recipes.hubert.ctc_config import FinetuneConfig
from zoo.recipes.hubert.ctc_run import finetune


def main() -> None:
    with readable_errors():
        print(finetune(parse(FinetuneConfig, program="python -m zoo.recipes.hubert.finetune")))


if __name__ == "__main__":
    main()
