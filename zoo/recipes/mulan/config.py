"""What MuLan training is configured by. The defaults are the mini preset: two cores, a quarter of an hour."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from zoo.data.loader import DataConfig
from zoo.errors import ConfigError
from zoo.models.mulan.model import SHORTEST_WINDOW, MulanConfig
from zoo.recipes.naming import name_of_run
from zoo.registry import info
from zoo.train import Precision, Schedule, TrainConfig
from zoo.validation import check_range


class Loss(str, Enum):
    """How the pairs of a batch are contrasted."""

    multiview = "multiview"  # as published: one denominator over both directions, without the pair itself
    infonce = "infonce"  # as CLIP


@dataclass
class MusicConfig(DataConfig):
    """Clips with texts. Windows are as long as the model's, or max_seconds if that is shorter."""

    source: str = "corpus:music/large"  # manifest .jsonl, .csv/.tsv/.parquet, hf:owner/name, corpus:KIND/SIZE
    columns: dict[str, str] = field(default_factory=dict)  # field: column, where a table names them otherwise
    text: dict[str, float] = field(  # weight of each kind of text: captions, text, columns, or tags from column+column
        default_factory=lambda: {"captions": 1.0, "instrument+family+style+tempo+meter": 1.0}
    )
    batch_seconds: float = 1e4  # s of windows in one micro-batch; max_items is what counts here
    max_items: int | None = 128  # pairs in one micro-batch
    max_seconds: float | None = None  # s of a window, where it is shorter than the model's
    min_seconds: float = 1.0  # shorter items are left out
    spectra: str | None = None  # folder that keeps spectrograms from run to run; null: they are made anew
    cache_hours: float = 12.0  # audio whose spectrograms are kept in memory (46 MB an hour with 64 mels)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("data.max_seconds", self.max_seconds, SHORTEST_WINDOW)
        if not all(0 <= weight < math.inf for weight in self.text.values()) or (
            self.text and not sum(self.text.values())
        ):
            raise ConfigError(f"data.text {self.text}: weights are numbers of 0 or more, and one must be above 0")


@dataclass
class TowerConfig:
    """Where a tower starts, and when it learns."""

    init: str | None = None  # weights to start from, what zoo.importers.mulan.from_towers takes; null: fresh
    frozen_steps: int = 0  # steps in which only its projection learns; -1: all of them
    learning_rate: float = 1.0  # relative to train.learning_rate

    def __post_init__(self) -> None:
        if self.frozen_steps < -1:
            raise ConfigError(f"frozen_steps {self.frozen_steps}: a number of steps, or -1 for all")
        check_range("learning_rate", self.learning_rate, 0)


@dataclass
class MulanAugmentConfig:
    """SpecAugment, on every window that is trained on."""

    time_masks: int = 1  # stretches that are blanked
    time_width: int = 24  # frames of 10 ms, at most
    freq_masks: int = 1  # bands that are blanked
    freq_width: int = 6  # mels, at most

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_range(f"augment.{name}", value, 0)


@dataclass
class CollapseConfig:
    """When training says that it goes wrong."""

    chance_steps: int = 100  # warn if the loss is still at chance then, and after 2, 4, 8 ... times as many
    chance_margin: float = 0.02  # of the chance level; closer than this is at chance
    stop_at_chance: bool = False  # end the run there with an error
    least_rank: float = 2.0  # effective rank of the dev embeddings
    most_cosine: float = 0.9  # mean cosine of two dev clips, or two dev texts

    def __post_init__(self) -> None:
        check_range("alarms.chance_steps", self.chance_steps, 1)


@dataclass
class ZeroShot:
    """A label column whose values are named by prompts."""

    column: str = ""
    templates: list[str] = field(default_factory=lambda: ["{}"])  # prompts, {} for the value

    def __post_init__(self) -> None:
        if wrong := [template for template in self.templates if "{}" not in template]:
            raise ConfigError(f"exam.zero_shot {self.column}: template {wrong[0]!r} has no {{}} for the value")
        if not self.templates:
            raise ConfigError(f"exam.zero_shot {self.column}: has no templates; at least one is needed")


def prompts() -> list[ZeroShot]:
    """Wordings in the manner of captions."""
    return [
        ZeroShot("instrument", ["{}", "{} music", "A tune with {}.", "Music played by a {}.", "A piece for {}"]),
        ZeroShot("family", ["{}", "{} music", "This is an instrumental {} piece.", "Instrumental music led by {}."]),
        ZeroShot("style", ["{}", "A {}.", "A {} in a major key.", "This is a {}."]),
        ZeroShot("tempo", ["{}", "{} music", "A {} piece.", "Music at a {} tempo."]),
        ZeroShot("meter", ["{}", "Music in {} time.", "A piece in {} time.", "In {}."]),
    ]


@dataclass
class EvaluationConfig:
    """What the finished model is asked about the test split."""

    same: str | None = "piece"  # column: clips with one value of it fit each other's captions; null: none do
    group: str | None = "piece"  # column that is resampled for intervals; null: single clips
    zero_shot: list[ZeroShot] = field(default_factory=prompts)
    probes: list[str] = field(default_factory=lambda: ["instrument", "family", "style", "tempo", "meter", "drums"])
    train_clips: int = 1500  # that probes learn from, at most
    ridge_clips: int = 20_000  # that ridge learns from, at most

    def __post_init__(self) -> None:
        check_range("exam.train_clips", self.train_clips, 2)
        check_range("exam.ridge_clips", self.ridge_clips, 2)


def mini_model() -> MulanConfig:
    return MulanConfig(**info("mulan-mini").config)


@dataclass
class MulanTrainConfig:
    """MuLan: music and text are brought to one space, by contrast within large batches."""

    out: str = "runs/mulan/mini"  # run folder; the model to use is OUT/best
    name: str = ""  # of the finished model; empty: mulan- and the run folder's name
    init: str | None = None  # a whole MuLan to go on from, what zoo.load takes; its configuration replaces `model`
    data: MusicConfig = field(default_factory=MusicConfig)
    audio: TowerConfig = field(default_factory=TowerConfig)
    text: TowerConfig = field(default_factory=lambda: TowerConfig(learning_rate=0.5))
    tokenizer: str | None = None  # tokenizer.json or vocab.txt; null: that of text.init, or one made from the captions
    loss: Loss = Loss.multiview  # multiview (as published) or infonce
    include_self: bool = False  # multiview: the pair itself in the denominator too
    temperature_rate: float = 5.0  # learning rate of the temperature, relative to train.learning_rate
    augment: MulanAugmentConfig = field(default_factory=MulanAugmentConfig)
    alarms: CollapseConfig = field(default_factory=CollapseConfig)
    exam: EvaluationConfig = field(default_factory=EvaluationConfig)
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
            raise ConfigError("init: a whole model brings its towers and tokenizer; leave those of their own at null")
