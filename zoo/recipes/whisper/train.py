"""Command that trains a Whisper from scratch, fine-tunes or distils it. It can be stopped and resumed.

python -m zoo.recipes.whisper.train                                             the mini preset, a quarter of an hour
python -m zoo.recipes.whisper.train --config finetune init=whisper-base data.sources=my.jsonl
torchrun --nproc-per-node 8 -m zoo.recipes.whisper.train --config base ...      on several GPUs
zoo transcribe talk.wav --model runs/whisper/mini/best --out texts
"""

from __future__ import annotations

from pathlib import Path

from zoo.config import parse
from zoo.io.terminal import readable_errors
from zoo.recipes.whisper.config import WhisperTrainConfig
from zoo.recipes.whisper.run import train

PRESETS = Path(__file__).parent / "presets"


def main() -> None:
    with readable_errors():
        print(train(parse(WhisperTrainConfig, program="python -m zoo.recipes.whisper.train", presets=PRESETS)))


if __name__ == "__main__":
    main()
