"""What Whisper training is configured by. The defaults are the mini preset: two cores, a quarter of an hour."""

from __future__ import annotations

from dataclasses import dataclass, field

from zoo import registry
from zoo.audio.augment import check_speed
from zoo.data.loader import DataConfig
from zoo.errors import ConfigError
from zoo.models.whisper.config import CONTEXTS, WhisperConfig
from zoo.recipes.naming import name_of_run
from zoo.text.normalizers import NORMALIZERS
from zoo.train import Precision, Schedule, TrainConfig
from zoo.validation import check_range


def check_normalizer(name: str, value: str) -> None:
    """Raises ConfigError for a normalizer that zoo.text.normalizers does not have."""
    if value not in NORMALIZERS:
        raise ConfigError(f"{name} {value!r}: choose one of {', '.join(NORMALIZERS)}")


@dataclass
class WindowConfig:
    """What the model hears at once, and what it is to write about it. (data.max_seconds has no say here.)"""

    context: str | None = None  # full: silence fills the model's window; clip: heard as it is; null: the model's own
    seconds: float | None = None  # length of the longest window; null: what the model can hear
    tail: int | None = None  # positions (20 ms) of silence after it in context "clip"; null: as the model has it
    least: int | None = None  # positions heard in all, at least, in context "clip"; null: as the model has it
    packed: float = 0.1  # share of clips that open a window filled with further clips; the others stand alone
    timestamps: float = 0.2  # share of windows whose text has times
    previous: float = 0.0  # share of windows that are told what was said before, where something was; published: 0.5
    no_speech: float = 0.02  # share of windows that hold noise instead, beside clips whose text is empty
    text_normalizer: str = "raw"  # of the texts that are learned (zoo.text.normalizers): raw, basic or english

    def __post_init__(self) -> None:
        if self.context not in (None, *CONTEXTS):
            raise ConfigError(f'windows.context {self.context!r}: choose "full", "clip" or null')
        for name in ("packed", "timestamps", "previous", "no_speech"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"windows.{name} {getattr(self, name)}: a share between 0 and 1")
        check_range("windows.seconds", self.seconds, 0, above=True)
        check_range("windows.tail", self.tail, 0)
        check_range("windows.least", self.least, 0)
        check_normalizer("windows.text_normalizer", self.text_normalizer)


@dataclass
class VocabularyConfig:
    """Where the tokens come from, if the model is a new one."""

    size: int = 768  # tokens of text that BPE learns from the training texts; 256 are bytes
    file: str | None = None  # instead of that: tokenizer.json, or a .tiktoken of openai-whisper
    dropout: float = 0.0  # BPE dropout (arXiv 1910.13267): chance that a merge is left out; large-v2: 0.1

    def __post_init__(self) -> None:
        if self.size < 256 or not 0 <= self.dropout < 1:
            raise ConfigError(f"vocabulary: size {self.size} from 256 on, dropout {self.dropout} from 0 to below 1")


@dataclass
class WhisperAugmentConfig:
    """What training clips are changed by; their texts stay, and times move with the speed.

    Masks: SpecAugment (arXiv 1904.08779) without its time warp. Large-v2: "LibriSpeech Basic" = 1, 27, 1, 100, 1.0.
    """

    speed: float = 0.0  # clips, not recordings, are played up to so much faster or slower, pitch included
    noise: float = 0.0  # share of clips with noise over them
    microphone: float = 0.0  # share of clips with a smooth random gain over frequency, as other microphones have
    band: float = 0.0  # share of clips without their high frequencies, as a telephone or a recording at 8 kHz has them
    mel_masks: int = 0  # bands of mels that are blanked
    mel_width: int = 27  # mels, at most, in one of them
    time_masks: int = 0  # stretches of time that are blanked
    time_width: int = 100  # mel frames (10 ms), at most, in one of them
    time_share: float = 1.0  # and at most this share of the window

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
    """Low-rank updates (arXiv 2106.09685) of frozen weights; the exported model has them added in."""

    rank: int = 0  # 0: off, all weights learn
    alpha: float = 32.0  # updates are scaled by alpha / rank
    dropout: float = 0.0  # of what goes into an update
    modules: list[str] = field(default_factory=lambda: ["attention.qkv", "attention.out", "cross.query", "cross.kv"])

    def __post_init__(self) -> None:
        check_range("tune.lora.rank", self.rank, 0)
        check_range("tune.lora.dropout", self.dropout, 0, 1)


@dataclass
class WhisperTuneConfig:
    """What of the model learns, and how it is held back."""

    freeze_encoder: int = 0  # blocks of the encoder, from the bottom, that stay as they are; -1: the whole encoder
    freeze_decoder: int = 0  # likewise of the decoder; its embedding stays too
    layerdrop: float = 0.0  # stochastic depth: share of blocks that a batch leaves out; large-v2: 0.1
    ctc: float = 0.0  # weight of a CTC loss of letters on the encoder (arXiv 1609.06773): it learns to spell early
    guide: float = 0.0  # weight of guided attention (arXiv 1710.08969): the decoder learns early where to listen
    help_steps: int = 0  # the step after which both are left out; 0: never
    lora: LoraConfig = field(default_factory=LoraConfig)

    def __post_init__(self) -> None:
        check_range("tune.layerdrop", self.layerdrop, 0, 1)
        for name in ("ctc", "guide", "help_steps"):
            check_range(f"tune.{name}", getattr(self, name), 0)


@dataclass
class DistilConfig:
    """Distil-Whisper (arXiv 2311.00430): fewer decoder layers, on texts that the model at `init` wrote.

    loss = kl KL(teacher || student) + pseudo cross-entropy of the pseudo-labels, weighted as the authors' script does.
    """

    decoder_layers: int = 0  # of the student, taken from the teacher at even distances; 0: no distillation
    kl: float = 1.0  # weight
    pseudo: float = 0.8  # weight
    temperature: float = 2.0  # of both distributions in KL, which is scaled by its square
    max_wer: float | None = 0.1  # clips whose pseudo-label differs more from the transcript are left out; null: none

    def __post_init__(self) -> None:
        check_range("distil.temperature", self.temperature, 0, above=True)
        for name in ("decoder_layers", "kl", "pseudo", "max_wer"):
            check_range(f"distil.{name}", getattr(self, name), 0)


def mini_model() -> WhisperConfig:
    return WhisperConfig(**registry.info("whisper-mini").config)


@dataclass
class WhisperTrainConfig:
    """Whisper: from scratch, or from any model that zoo.load takes (init)."""

    out: str = "runs/whisper/mini"  # run folder; the model to use is OUT/best
    name: str = ""  # of the finished model; empty: whisper- and the run folder's name
    init: str | None = None  # Whisper to start from: checkpoint, registered name or hf:owner/name; null = from scratch
    wer_normalizer: str = (
        "basic"  # normalizer (zoo.text.normalizers) under which words are counted: raw, basic or english
    )
    samples: int = 5  # transcripts of dev clips that each validation shows
    dev_clips: int | None = 150  # of the dev split, transcribed in a validation at most; null: all
    exams: list[str] = field(default_factory=list)  # further sources, all of which the finished model transcribes
    data: DataConfig = field(
        default_factory=lambda: DataConfig(
            "corpus:speech/large [style=keyword|digits lang=en]", batch_seconds=30.0, min_seconds=0.3, cache_hours=8.0
        )
    )
    windows: WindowConfig = field(default_factory=WindowConfig)
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    augment: WhisperAugmentConfig = field(default_factory=WhisperAugmentConfig)
    tune: WhisperTuneConfig = field(default_factory=lambda: WhisperTuneConfig(ctc=1.0, guide=4.0))
    distil: DistilConfig = field(default_factory=DistilConfig)
    model: WhisperConfig = field(default_factory=mini_model)  # of a new model; vocab_size follows from the vocabulary
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
            raise ConfigError("vocabulary.file: goes with a new model; the one at init has a vocabulary of its own")
