"""Configuration of HuBERT pre-training. The defaults are the mini preset: a quarter of an hour on two cores."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from zoo.audio.augment import check_speed
from zoo.data.loader import DataConfig
from zoo.errors import ConfigError
from zoo.models.hubert.model import HubertConfig
from zoo.recipes.init import name_of_run
from zoo.registry import info
from zoo.train import Precision, Schedule, TrainConfig
from zoo.validation import check_range


class FeatureKind(str, Enum):
    """The features that are clustered into the targets of a round."""

    mfcc = "mfcc"
    layer = "layer"  # of the previous round's model; in the first round, of target_encoder


@dataclass
class Round:
    """One iteration of the paper: make units, then train a fresh model to predict them."""

    features: FeatureKind = FeatureKind.layer  # mfcc, or layer of the previous round's model
    layer: int | None = None  # layer number; null: best PNMI on dev, or the middle layer if dev has no phones
    units: list[int] = field(default_factory=lambda: [100])  # classes, one number for each codebook
    centered: bool = False  # subtract each clip's mean from its features: units then depend less on the speaker
    product: int | None = None  # split the features into this many slices with one codebook each (product k-means)
    hours: float | None = None  # of training audio to fit the k-means on; null: all
    steps: int | None = None  # null: train.steps
    learning_rate: float | None = None  # null: train.learning_rate

    def __post_init__(self) -> None:
        """Check the values now, not after the hours of the earlier rounds."""
        check_range("rounds: units", min(self.units, default=0), 1)
        check_range("rounds: product", self.product, 1)
        check_range("rounds: steps", self.steps, 1)
        check_range("rounds: hours", self.hours, 0, above=True)
        check_range("rounds: learning_rate", self.learning_rate, 0, above=True)


@dataclass
class MaskConfig:
    """Masked spans of frames (section II-B, as wav2vec 2.0)."""

    mask_prob: float = 0.08  # share of frames that start a span
    length: int = 10  # of a span, in frames
    min_masks: int = 2  # spans in a clip

    def __post_init__(self) -> None:
        check_range("mask.mask_prob", self.mask_prob, 0, 1)
        check_range("mask.length", self.length, 1)
        check_range("mask.min_masks", self.min_masks, 0)


@dataclass
class HubertAugmentConfig:
    """Augmentation of the training clips. Their units and texts stay those of the original clips."""

    speed: float = 0.0  # maximum change of speed and pitch; 0.15: 0.85 to 1.15 times as fast
    speech: float = 0.0  # share of clips that are mixed with a segment of another clip of the batch
    noise: float = 0.0  # share of clips that are mixed with noise
    microphone: float = 0.0  # share of clips with a smooth random gain over frequency, like another microphone
    band: float = 0.0  # share of clips without their high frequencies, like a telephone or an 8 kHz recording

    def __post_init__(self) -> None:
        check_speed(self.speed)
        check_range("augment.microphone", self.microphone, 0, 1)
        check_range("augment.band", self.band, 0, 1)
        if min(self.speech, self.noise) < 0 or self.speech + self.noise > 1:
            raise ConfigError(
                f"augment.speech {self.speech}, noise {self.noise}: give shares >= 0 with a sum of at most 1"
            )


@dataclass
class LossConfig:
    """Cross-entropy of the units: alpha on masked frames, 1 - alpha on the others (section II-B, equation 2)."""

    alpha: float = 1.0  # 1: masked frames only
    feature_penalty: float = 0.0  # weight of the mean square of the front end's output; published: 10, on waveforms
    frontend_gradient: float = 1.0  # scale of the gradient that reaches the front end; published: 0.1 for Base

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"loss.alpha {self.alpha}: give a weight between 0 and 1")


def mini_augment() -> HubertAugmentConfig:
    """Generated voices all sound like one microphone; augmentation adds the variety of real recordings."""
    return HubertAugmentConfig(speed=0.15, speech=0.1, noise=0.1, microphone=0.5, band=0.4)


def mini_model() -> HubertConfig:
    return HubertConfig(**info("hubert-mini").config)


@dataclass
class HubertTrainConfig:
    """HuBERT pre-training: rounds of clustering and masked prediction, in one resumable run."""

    out: str = "runs/hubert/mini"  # run folder; the final model is OUT/model
    name: str = ""  # of the final model; empty: hubert- and the run folder's name
    data: DataConfig = field(default_factory=lambda: DataConfig(batch_seconds=40.0))
    init: str | None = None  # HuBERT that each round starts from: run folder, checkpoint or name; null: fresh weights
    target_encoder: str | None = None  # encoder for the units of the first round, any source that zoo.load takes
    target_encoder_padding: str | None = None  # of a Whisper: 30s, or none (several times cheaper); null: its own
    rounds: list[Round] = field(
        default_factory=lambda: [
            Round(FeatureKind.mfcc, units=[100]),
            Round(FeatureKind.layer, units=[100], centered=True),
        ]
    )
    final_units: int = 100  # classes of the final model's quantizer, on its best layer; 0: no quantizer
    final_layer: int | None = None  # layer for that quantizer; null: chosen as in a round
    mask: MaskConfig = field(default_factory=MaskConfig)
    augment: HubertAugmentConfig = field(default_factory=mini_augment)
    # In a run this short, unmasked frames are needed to train the first layers; see recipes/hubert.
    loss: LossConfig = field(default_factory=lambda: LossConfig(alpha=0.5))
    model: HubertConfig = field(default_factory=mini_model)  # ignored with `init`, which has its own
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=1400, learning_rate=1e-3, schedule=Schedule.linear, precision=Precision.bf16, validate_every=100
        )
    )

    def __post_init__(self) -> None:
        self.name = self.name or name_of_run("hubert", self.out)
        check_range("final_units", self.final_units, 0)
        if not self.rounds or (self.rounds[0].features == FeatureKind.layer and self.target_encoder is None):
            raise ConfigError("rounds: the first one needs features=mfcc, or features=layer with `target_encoder`")
