"""Configuration of CTC fine-tuning. The defaults tune the mini HuBERT on the keywords of the speech corpus."""

from __future__ import annotations

from dataclasses import dataclass, field

from zoo.data.loader import DataConfig
from zoo.data.sources import parse
from zoo.recipes.hubert.config import HubertAugmentConfig, MaskConfig
from zoo.recipes.init import name_of_run
from zoo.train import Precision, Schedule, TrainConfig
from zoo.validation import check_range


@dataclass
class CtcTuneConfig:
    """Freezing, dropout and masking during fine-tuning."""

    freeze_steps: int = 100  # in the first steps only the head is trained; then the transformer too
    train_frontend: bool = False  # published: the front end stays frozen
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.1
    layerdrop: float = 0.0
    time_mask: MaskConfig = field(default_factory=lambda: MaskConfig(mask_prob=0.05, length=5, min_masks=0))
    channel_mask: MaskConfig = field(default_factory=lambda: MaskConfig(mask_prob=0.004, length=32, min_masks=0))

    def __post_init__(self) -> None:
        check_range("tune.freeze_steps", self.freeze_steps, 0)
        for name in ("dropout", "attention_dropout", "activation_dropout", "layerdrop"):
            check_range(f"tune.{name}", getattr(self, name), 0, 1)


@dataclass
class CtcTrainConfig:
    """CTC fine-tuning: a pre-trained HuBERT learns to transcribe speech."""

    out: str = "runs/hubert/mini-ctc"  # run folder; the model to use is OUT/best
    name: str = ""  # of the final model; empty: hubert- and the run folder's name
    init: str = "runs/hubert/mini"  # HuBERT to start from: run folder, checkpoint, registered name or hf:owner/name
    text_normalizer: str = "basic"  # of transcripts (zoo.text.normalizers): raw, basic or english
    samples: int = 5  # dev transcripts shown by each validation
    data: DataConfig = field(
        default_factory=lambda: DataConfig(
            parse("corpus:speech/small [style=keyword|digits lang=en]"), batch_seconds=40.0, min_seconds=0.2
        )
    )
    tune: CtcTuneConfig = field(default_factory=CtcTuneConfig)
    augment: HubertAugmentConfig = field(default_factory=HubertAugmentConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=1000,
            learning_rate=5e-4,
            schedule=Schedule.tri_stage,
            warmup=0.1,
            hold=0.4,
            final=0.05,
            epsilon=1e-8,
            precision=Precision.bf16,
            validate_every=100,
            save_every=100,
        )
    )

    def __post_init__(self) -> None:
        self.name = self.name or name_of_run("hubert", self.out)
