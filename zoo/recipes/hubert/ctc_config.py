"""What CTC fine-tuning is configured by. The defaults tune the mini HuBERT on the spoken words of the speech corpus."""

from __future__ import annotations

from dataclasses import dataclass, field

from zoo.data.loader import DataConfig
from zoo.recipes.hubert.config import HubertAugmentConfig, MaskConfig
from zoo.recipes.naming import name_of_run
from zoo.train import Precision, Schedule, TrainConfig
from zoo.validation import check_range


@dataclass
class CtcTuneConfig:
    """How the model is changed while it learns to spell."""

    freeze_steps: int = 100  # the head alone learns first, then the transformer joins in
    train_frontend: bool = False  # published: the front end stays as pre-training left it
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.1
    layerdrop: float = 0.0
    time_mask: MaskConfig = field(default_factory=lambda: MaskConfig(starts=0.05, length=5, least=0))  # frames
    channel_mask: MaskConfig = field(default_factory=lambda: MaskConfig(starts=0.004, length=32, least=0))  # of D

    def __post_init__(self) -> None:
        check_range("tune.freeze_steps", self.freeze_steps, 0)
        for name in ("dropout", "attention_dropout", "activation_dropout", "layerdrop"):
            check_range(f"tune.{name}", getattr(self, name), 0, 1)


@dataclass
class CtcTrainConfig:
    """CTC fine-tuning: a pre-trained HuBERT learns to write what is said."""

    out: str = "runs/hubert/mini-ctc"  # run folder; the model to use is OUT/best
    name: str = ""  # of the finished model; empty: hubert- and the run folder's name
    init: str = "runs/hubert/mini"  # HuBERT to start from: run folder, checkpoint, registered name or hf:owner/name
    text_normalizer: str = "basic"  # of transcripts (zoo.text.normalizers): raw, basic or english
    samples: int = 5  # transcripts of dev clips that each validation shows
    data: DataConfig = field(
        default_factory=lambda: DataConfig(
            "corpus:speech/small [style=keyword|digits lang=en]", batch_seconds=40.0, min_seconds=0.2
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
