"""Configuration of MuLan training. The defaults are the mini preset: a quarter of an hour on two cores."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from zoo.config import PARSER
from zoo.data.loader import DataConfig
from zoo.data.sources import Source, parse
from zoo.errors import ConfigError
from zoo.models.mulan.model import SHORTEST_WINDOW, MulanConfig
from zoo.recipes.init import name_of_run
from zoo.registry import info
from zoo.train import Precision, Schedule, TrainConfig
from zoo.validation import check_range


class Loss(str, Enum):
    """The contrastive loss."""

    multiview = "multiview"  # as published: one denominator over both directions, without the pair itself
    infonce = "infonce"  # as CLIP


@dataclass
class MusicConfig(DataConfig):
    """Clips with texts. Windows have the length of the model's windows, or max_seconds if that is shorter."""

    sources: list[Source] = field(  # or their short form: A + B [column=value|value]; zoo.data.sources.Source
        default_factory=lambda: parse("corpus:music/large"), metadata={PARSER: parse}
    )
    text: dict[str, float] = field(  # weight of each kind of text: captions, text, columns, or tags from column+column
        default_factory=lambda: {"captions": 1.0, "instrument+family+style+tempo+meter": 1.0}
    )
    batch_seconds: float = 1e4  # s of windows in one micro-batch; usually max_items limits it
    max_items: int | None = 128  # pairs in one micro-batch
    max_seconds: float | None = None  # s of a window; null: as long as the model's
    min_seconds: float = 1.0  # shorter clips are left out
    spectra: str | None = None  # folder that stores spectrograms for later runs; null: none
    cache_hours: float = 12.0  # hours of audio with spectrograms kept in memory (46 MB an hour with 64 mels)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("data.max_seconds", self.max_seconds, SHORTEST_WINDOW)
        if not all(0 <= weight < math.inf for weight in self.text.values()) or (
            self.text and not sum(self.text.values())
        ):
            raise ConfigError(f"data.text {self.text}: give weights >= 0, at least one of them above 0")


@dataclass
class TowerConfig:
    """Initial weights, freezing and learning rate of a tower."""

    init: str | None = None  # initial weights, a source for zoo.importers.mulan.from_towers; null: fresh
    frozen_steps: int = 0  # first steps in which only its projection is trained; -1: all steps
    learning_rate: float = 1.0  # relative to train.learning_rate

    def __post_init__(self) -> None:
        if self.frozen_steps < -1:
            raise ConfigError(f"frozen_steps {self.frozen_steps}: give a number of steps, or -1 for all")
        check_range("learning_rate", self.learning_rate, 0)


@dataclass
class MulanAugmentConfig:
    """SpecAugment, for every training window."""

    time_masks: int = 1  # number of blanked time spans
    time_width: int = 24  # maximum width of a span, in frames of 10 ms
    freq_masks: int = 1  # number of blanked bands
    freq_width: int = 6  # maximum width of a band, in mels

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_range(f"augment.{name}", value, 0)


@dataclass
class CollapseConfig:
    """When training warns that it does not learn."""

    chance_steps: int = 100  # warn if the loss is at chance after these steps, and after 2, 4, 8 ... times as many
    chance_margin: float = 0.02  # relative distance to the chance level below which a loss is at chance
    stop_at_chance: bool = False  # end the run with an error instead of the warning
    min_rank: float = 2.0  # warn below this effective rank of the dev embeddings
    max_cosine: float = 0.9  # warn above this mean cosine of two dev clips, or two dev texts

    def __post_init__(self) -> None:
        check_range("collapse.chance_steps", self.chance_steps, 1)


@dataclass
class ZeroShot:
    """Zero-shot classification of one label column, with prompts for its values."""

    column: str = ""
    templates: list[str] = field(default_factory=lambda: ["{}"])  # prompts, {} for the value

    def __post_init__(self) -> None:
        if wrong := [template for template in self.templates if "{}" not in template]:
            raise ConfigError(f"evaluation.zero_shot {self.column}: template {wrong[0]!r} has no {{}} for the value")
        if not self.templates:
            raise ConfigError(f"evaluation.zero_shot {self.column}: no templates; give at least one")


def prompts() -> list[ZeroShot]:
    """Default prompts, worded like the captions of the corpus."""
    return [
        ZeroShot("instrument", ["{}", "{} music", "A tune with {}.", "Music played by a {}.", "A piece for {}"]),
        ZeroShot("family", ["{}", "{} music", "This is an instrumental {} piece.", "Instrumental music led by {}."]),
        ZeroShot("style", ["{}", "A {}.", "A {} in a major key.", "This is a {}."]),
        ZeroShot("tempo", ["{}", "{} music", "A {} piece.", "Music at a {} tempo."]),
        ZeroShot("meter", ["{}", "Music in {} time.", "A piece in {} time.", "In {}."]),
    ]


@dataclass
class EvaluationConfig:
    """Evaluation of the trained model on the test split."""

    same: str | None = "piece"  # column; a caption is right for all clips with its value; null: only for its own clip
    group: str | None = "piece"  # column; confidence intervals resample its values; null: speaker, piece, artist, ...
    zero_shot: list[ZeroShot] = field(default_factory=prompts)
    probes: list[str] = field(default_factory=lambda: ["instrument", "family", "style", "tempo", "meter", "drums"])
    train_clips: int = 1500  # maximum number of training clips for probes and for ridge regression

    def __post_init__(self) -> None:
        check_range("evaluation.train_clips", self.train_clips, 2)


def mini_model() -> MulanConfig:
    return MulanConfig(**info("mulan-mini").config)


@dataclass
class MulanTrainConfig:
    """MuLan: a joint embedding of music and text, trained by contrast within large batches."""

    out: str = "runs/mulan/mini"  # run folder; the model to use is OUT/best
    name: str = ""  # of the trained model; empty: mulan- and the run folder's name
    init: str | None = None  # a MuLan to start from, any source of zoo.load; its configuration replaces `model`
    data: MusicConfig = field(default_factory=MusicConfig)
    audio: TowerConfig = field(default_factory=TowerConfig)
    text: TowerConfig = field(default_factory=lambda: TowerConfig(learning_rate=0.5))
    tokenizer: str | None = None  # tokenizer.json or vocab.txt; null: that of text.init, or one trained on the captions
    loss: Loss = Loss.multiview  # multiview (as published) or infonce
    include_self: bool = False  # multiview: include the pair itself in the denominator
    temperature_rate: float = 5.0  # learning rate of the temperature, relative to train.learning_rate
    augment: MulanAugmentConfig = field(default_factory=MulanAugmentConfig)
    collapse: CollapseConfig = field(default_factory=CollapseConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    model: MulanConfig = field(default_factory=mini_model)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=1800,
            learning_rate=3e-3,
            schedule=Schedule.cosine,
            precision=Precision.bf16,
            validate_every=100,
            save_every=100,
        )
    )

    def __post_init__(self) -> None:
        self.name = self.name or name_of_run("mulan", self.out)
        check_range("temperature_rate", self.temperature_rate, 0)
        if self.init and (self.audio.init or self.text.init or self.tokenizer):
            raise ConfigError(
                "init: this model includes towers and tokenizer; set audio.init, text.init and tokenizer to null"
            )
