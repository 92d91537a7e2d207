"""Configuration of Whisper training. The defaults are the mini preset: two cores, a quarter of an hour."""

from __future__ import annotations

from dataclasses import dataclass, field

from zoo import registry
from zoo.audio.augment import check_speed
from zoo.data.loader import DataConfig
from zoo.data.sources import parse
from zoo.errors import ConfigError
from zoo.models.whisper.config import PADDINGS, WhisperConfig
from zoo.recipes.init import name_of_run
from zoo.text.normalizers import NORMALIZERS
from zoo.train import Precision, Schedule, TrainConfig
from zoo.validation import check_range


def check_normalizer(name: str, value: str) -> None:
    """Raises ConfigError for a normalizer that is not in zoo.text.normalizers."""
    if value not in NORMALIZERS:
        raise ConfigError(f"{name} {value!r}: choose one of {', '.join(NORMALIZERS)}")


@dataclass
class WindowConfig:
    """The windows of audio that the model is trained on, and their texts. data.max_seconds is not used."""

    padding: str | None = None  # 30s: silence fills the window; none: the audio alone; null: as the model
    seconds: float | None = None  # length of the longest window; null: the model's maximum
    pad_positions: int | None = None  # positions (20 ms) of silence after the audio, padding none; null: as the model
    min_positions: int | None = None  # positions of a window at least, padding none; null: as the model
    packed: float = 0.1  # share of clips that begin a window with several clips; the others are alone in their window
    timestamps: float = 0.2  # share of windows with times in their text
    previous: float = 0.0  # share of windows with the previous text as a prompt, if there is one; published: 0.5
    no_speech: float = 0.02  # share of windows that hold noise instead, in addition to clips with an empty text
    text_normalizer: str = "raw"  # of the training texts (zoo.text.normalizers): raw, basic or english

    def __post_init__(self) -> None:
        if self.padding not in (None, *PADDINGS):
            raise ConfigError(f'windows.padding {self.padding!r}: choose "30s", "none" or null')
        for name in ("packed", "timestamps", "previous", "no_speech"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"windows.{name} {getattr(self, name)}: a share between 0 and 1")
        check_range("windows.seconds", self.seconds, 0, above=True)
        check_range("windows.pad_positions", self.pad_positions, 0)
        check_range("windows.min_positions", self.min_positions, 0)
        check_normalizer("windows.text_normalizer", self.text_normalizer)


@dataclass
class VocabularyConfig:
    """The vocabulary of a new model."""

    size: int = 768  # tokens of text that BPE learns from the training texts; 256 are bytes
    file: str | None = None  # a tokenizer.json, or a .tiktoken of openai-whisper, instead of learning one
    dropout: float = 0.0  # BPE dropout (arXiv 1910.13267): probability that a merge is left out; large-v2: 0.1

    def __post_init__(self) -> None:
        if self.size < 256 or not 0 <= self.dropout < 1:
            raise ConfigError(f"vocabulary: size {self.size} from 256 on, dropout {self.dropout} from 0 to below 1")


@dataclass
class WhisperAugmentConfig:
    """Augmentation of training clips. Texts do not change; their times follow the speed.

    Masks: SpecAugment (arXiv 1904.08779) without its time warp. Large-v2: "LibriSpeech Basic" = 1, 27, 1, 100, 1.0.
    """

    speed: float = 0.0  # maximum relative change of speed and pitch, of clips but not of long recordings
    noise: float = 0.0  # share of clips with added noise
    microphone: float = 0.0  # share of clips with a smooth random gain over frequency, like another microphone
    band: float = 0.0  # share of clips without their high frequencies, like a telephone or a recording at 8 kHz
    mel_masks: int = 0  # number of masked bands of mels
    mel_width: int = 27  # mels in a masked band, at most
    time_masks: int = 0  # number of masked stretches of time
    time_width: int = 100  # mel frames (10 ms) in a masked stretch, at most
    time_share: float = 1.0  # share of the window in a masked stretch, at most

    def __post_init__(self) -> None:
        check_speed(self.speed)
        check_range("augment.noise", self.noise, 0, 1)
        check_range("augment.microphone", self.microphone, 0, 1)
        check_range("augment.band", self.band, 0, 1)
        check_range("augment.time_share", self.time_share, 0, 1)
        for name in ("mel_masks", "mel_width", "time_masks", "time_width"):
            check_range(f"augment.{name}", getattr(self, name), 0)


@dataclass
class LoraConfig:
    """Low-rank updates (arXiv 2106.09685) of frozen weights; the exported model has them merged."""

    rank: int = 0  # 0: off, all weights are trained
    alpha: float = 32.0  # updates are scaled by alpha / rank
    dropout: float = 0.0  # of the input of an update
    modules: list[str] = field(default_factory=lambda: ["attention.qkv", "attention.out", "cross.query", "cross.kv"])

    def __post_init__(self) -> None:
        check_range("tune.lora.rank", self.rank, 0)
        check_range("tune.lora.dropout", self.dropout, 0, 1)


@dataclass
class WhisperTuneConfig:
    """Which parts of the model are trained, regularization, and auxiliary losses."""

    freeze_encoder: int = 0  # frozen blocks of the encoder, from the bottom; -1: the whole encoder
    freeze_decoder: int = 0  # frozen blocks of the decoder, from the bottom, and its embedding
    layerdrop: float = 0.0  # stochastic depth: share of blocks that a batch leaves out; large-v2: 0.1
    ctc: float = 0.0  # weight of a CTC loss of characters on the encoder (arXiv 1609.06773): helps early in training
    guided_attention_weight: float = 0.0  # of guided attention (arXiv 1710.08969): helps the decoder to align early
    aux_loss_steps: int = 0  # step after which CTC and guided attention are left out; 0: never
    lora: LoraConfig = field(default_factory=LoraConfig)

    def __post_init__(self) -> None:
        check_range("tune.layerdrop", self.layerdrop, 0, 1)
        for name in ("ctc", "guided_attention_weight", "aux_loss_steps"):
            check_range(f"tune.{name}", getattr(self, name), 0)


@dataclass
class DistilConfig:
    """Distil-Whisper (arXiv 2311.00430): fewer decoder layers, trained on transcripts by the model at `init`.

    loss = kl KL(teacher || student) + pseudo cross-entropy of the pseudo-labels, weighted as in the authors' script.
    """

    decoder_layers: int = 0  # of the student, copied from the teacher at even distances; 0: no distillation
    kl: float = 1.0  # weight
    pseudo: float = 0.8  # weight
    temperature: float = 2.0  # of both distributions in KL; KL is multiplied by its square
    max_wer: float | None = 0.1  # clips with a larger WER of the pseudo-label are left out; null: none are

    def __post_init__(self) -> None:
        check_range("distil.temperature", self.temperature, 0, above=True)
        for name in ("decoder_layers", "kl", "pseudo", "max_wer"):
            check_range(f"distil.{name}", getattr(self, name), 0)


def mini_model() -> WhisperConfig:
    return WhisperConfig(**registry.info("whisper-mini").config)


@dataclass
class WhisperTrainConfig:
    """Whisper training, from scratch or from a model that zoo.load accepts (init)."""

    out: str = "runs/whisper/mini"  # run folder; the best model is in OUT/best
    name: str = ""  # of the trained model; empty: whisper- and the name of the run folder
    init: str | None = None  # Whisper to start from: checkpoint, registered name or hf:owner/name; null = from scratch
    wer_normalizer: str = "basic"  # normalizer (zoo.text.normalizers) of the WER: raw, basic or english
    samples: int = 5  # transcripts of dev clips that each validation prints
    dev_clips: int | None = 150  # maximum clips of the dev split that a validation transcribes; null: all
    test_sources: list[str] = field(default_factory=list)  # sources evaluated after training, beside the test split
    data: DataConfig = field(
        default_factory=lambda: DataConfig(
            parse("corpus:speech/large [style=keyword|digits lang=en]"),
            batch_seconds=30.0,
            min_seconds=0.3,
            cache_hours=8.0,
        )
    )
    windows: WindowConfig = field(default_factory=WindowConfig)
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    augment: WhisperAugmentConfig = field(default_factory=WhisperAugmentConfig)
    tune: WhisperTuneConfig = field(default_factory=lambda: WhisperTuneConfig(ctc=1.0, guided_attention_weight=4.0))
    distil: DistilConfig = field(default_factory=DistilConfig)
    model: WhisperConfig = field(default_factory=mini_model)  # of a new model; the vocabulary sets vocab_size
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=3000,
            learning_rate=1.5e-3,
            schedule=Schedule.linear,
            warmup=0.1,
            weight_decay=0.1,
            precision=Precision.bf16,
            validate_every=500,
            save_every=250,
        )
    )

    def __post_init__(self) -> None:
        self.name = self.name or name_of_run("whisper", self.out)
        check_normalizer("wer_normalizer", self.wer_normalizer)
        check_range("samples", self.samples, 0)
        check_range("dev_clips", self.dev_clips, 1)
        if self.init and self.vocabulary.file:
            raise ConfigError("vocabulary.file: goes with a new model; the model at init has its own vocabulary")
