"""What HuBERT pre-training is configured by. The defaults are the mini preset: two cores, a quarter of an hour."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from zoo.audio.augment import check_speed
from zoo.data.loader import DataConfig
from zoo.errors import ConfigError
from zoo.models.hubert.model import HubertConfig
from zoo.recipes.naming import name_of_run
from zoo.registry import info
from zoo.train import Precision, Schedule, TrainConfig
from zoo.validation import check_range


class FeatureKind(str, Enum):
    """What is clustered into the targets of a round."""

    mfcc = "mfcc"
    layer = "layer"  # of the model of the round before


@dataclass
class Round:
    """One iteration of the paper: units are made, then a fresh model learns to predict them."""

    features: FeatureKind = FeatureKind.layer  # mfcc, or layer: of the model of the round before
    layer: int | None = None  # which; null = by PNMI on dev, or the middle one where dev has no phones
    units: list[int] = field(default_factory=lambda: [100])  # classes, one number for each codebook
    centered: bool = False  # take each clip's mean from its features first: units then tell less of who speaks
    product: int | None = None  # cut the features into so many slices, with a codebook each (product k-means)
    hours: float | None = None  # of training audio to fit the k-means on; null = all
    steps: int | None = None  # where it differs from train.steps
    learning_rate: float | None = None  # where it differs from train.learning_rate

    def __post_init__(self) -> None:
        """At once, not when earlier rounds have taken their hours."""
        check_range("rounds: units", min(self.units, default=0), 1)
        check_range("rounds: product", self.product, 1)
        check_range("rounds: steps", self.steps, 1)
        check_range("rounds: hours", self.hours, 0, above=True)
        check_range("rounds: learning_rate", self.learning_rate, 0, above=True)


@dataclass
class MaskConfig:
    """Spans of frames that the model must fill in (section II-B, as wav2vec 2.0)."""

    starts: float = 0.08  # share of frames that begin a span
    length: int = 10  # frames
    least: int = 2  # spans in a clip

    def __post_init__(self) -> None:
        check_range("mask.starts", self.starts, 0, 1)
        check_range("mask.length", self.length, 1)
        check_range("mask.least", self.least, 0)


@dataclass
class HubertAugmentConfig:
    """What training clips are changed by before the model hears them; their units and texts stay as they are."""

    speed: float = 0.0  # clips are played up to so much faster or slower, pitch included; 0.15: 0.85 to 1.15 times
    speech: float = 0.0  # share of clips with a stretch of another one of the batch over them
    noise: float = 0.0  # share of clips with noise over them
    microphone: float = 0.0  # share of clips with a smooth random gain over frequency, as other microphones have
    band: float = 0.0  # share of clips without their high frequencies, as a telephone or a recording at 8 kHz has them

    def __post_init__(self) -> None:
        check_speed(self.speed)
        check_range("augment.microphone", self.microphone, 0, 1)
        check_range("augment.band", self.band, 0, 1)
        if min(self.speech, self.noise) < 0 or self.speech + self.noise > 1:
            raise ConfigError(f"augment.speech {self.speech}, noise {self.noise}: shares, together no more than 1")


@dataclass
class LossConfig:
    """Cross-entropy of the units: alpha on masked frames, 1 - alpha on the others (section II-B, equation 2)."""

    alpha: float = 1.0  # 1: masked frames alone
    feature_penalty: float = 0.0  # times the mean square of the front end's output; published: 10, waveform front end
    frontend_gradient: float = 1.0  # scale of the gradient that reaches the front end; published: 0.1 for Base

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"loss.alpha {self.alpha}: a weight between 0 and 1")


def mini_augment() -> HubertAugmentConfig:
    """Generated voices are all recorded alike; real ones are not."""
    return HubertAugmentConfig(speed=0.15, speech=0.1, noise=0.1, microphone=0.5, band=0.4)


def mini_model() -> HubertConfig:
    return HubertConfig(**info("hubert-mini").config)


@dataclass
class HubertTrainConfig:
    """HuBERT pre-training: rounds of clustering and masked prediction, in one resumable run."""

    out: str = "runs/hubert/mini"  # run folder; the finished model is OUT/model
    name: str = ""  # of the finished model; empty: hubert- and the run folder's name
    data: DataConfig = field(default_factory=lambda: DataConfig(batch_seconds=40.0))
    init: str | None = None  # HuBERT whose weights each round goes on from: run folder, checkpoint or name; null: fresh
    teacher: str | None = None  # what zoo.load takes: the model whose layers the first round's units come from
    teacher_context: str | None = None  # of a Whisper teacher: 30s, or none (several times cheaper); null: as it is
    rounds: list[Round] = field(
        default_factory=lambda: [
            Round(FeatureKind.mfcc, units=[100]),
            Round(FeatureKind.layer, units=[100], centered=True),
        ]
    )
    final_units: int = 100  # classes of the quantizer that the finished model carries, on its best layer; 0: none
    final_layer: int | None = None  # the layer for it; null = as for a round
    mask: MaskConfig = field(default_factory=MaskConfig)
    augment: HubertAugmentConfig = field(default_factory=mini_augment)
    # At this scale, unmasked frames teach the first layers in the few minutes that there are; see recipes/hubert.
    loss: LossConfig = field(default_factory=lambda: LossConfig(alpha=0.5))
    model: HubertConfig = field(default_factory=mini_model)  # not asked for where `init` brings its own
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=1400, learning_rate=1e-3, schedule=Schedule.linear, precision=Precision.bf16, validate_every=100
        )
    )

    def __post_init__(self) -> None:
        self.name = self.name or name_of_run("hubert", self.out)
        check_range("final_units", self.final_units, 0)
        if not self.rounds or (self.rounds[0].features == FeatureKind.layer and self.teacher is None):
            raise ConfigError("rounds: the first takes its units from mfcc, or from a layer of `teacher`")
