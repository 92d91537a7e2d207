"""HuBERT: masked prediction of hidden units (Hsu et al. 2021, arXiv 2106.07447).

    waveform -> front end -> projection -> (+ convolutional position) -> transformer -> frames

Legend: L layers, B batch, S samples, T frames, D width, C front-end channels, K classes of a codebook, V symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast, overload

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from zoo import audio
from zoo.audio import Clip
from zoo.cluster.quantizer import Quantizer
from zoo.encoder import LATER, Frames, Layer
from zoo.errors import CheckpointError, ConfigError
from zoo.models.hubert.heads import LinearUnitHead, UnitHead
from zoo.models.xvector import SpeakerEncoder, XVector
from zoo.nn.conv import ConvPosition, FeatureProjection, LogMelFrontend, WaveformFrontend
from zoo.nn.linear import Linear
from zoo.nn.masking import padding_mask, zero_padding
from zoo.nn.transformer import Transformer
from zoo.validation import check_range, check_structure

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from zoo.models.ctc.keywords import TranscribeOptions
    from zoo.text.transcript import Transcript

QUANTIZER = "quantizer.safetensors"


@dataclass(frozen=True)
class HubertConfig:
    """The structure of a HuBERT. Defaults are Base.

    frontend: "waveform" (seven convolutions, 20 ms) or "logmel" (frame_ms 20 or 40, much cheaper; power relative
    to the clip's mean).
    conv_norm: "group" (Base) or "layer" (Large, X-Large); normalize: waveform to zero mean, unit variance per clip.
    units: classes of each codebook for pre-training; unit_head: "cosine" (with unit_dim and temperature, as
    published) or "linear"; vocabulary: CTC symbols, blank first. Units and vocabulary are optional.
    speaker_widths: of the five convolutions of a speaker head, empty for none; speaker_dim: width of its vectors;
    speaker_layers: "weighted" or "last".
    """

    sample_rate: int = 16_000
    frontend: str = "waveform"
    frame_ms: int = 20
    mels: int = 80
    conv_dim: int = 512
    conv_norm: str = "group"
    conv_bias: bool = False
    normalize: bool = False
    layers: int = 12
    dim: int = 768
    heads: int = 12
    ffn_dim: int = 3072
    norm_first: bool = False
    position_kernel: int = 128
    position_groups: int = 16
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    layerdrop: float = 0.05
    units: tuple[int, ...] = ()
    unit_head: str = "cosine"
    unit_dim: int = 256
    temperature: float = 0.1
    vocabulary: tuple[str, ...] = ()
    speaker_widths: tuple[int, ...] = field(default=(), metadata=LATER)
    speaker_dim: int = field(default=512, metadata=LATER)
    speaker_layers: str = field(default="weighted", metadata=LATER)

    def __post_init__(self) -> None:
        check_structure(self)
        check_range("temperature", self.temperature, 0, above=True)
        object.__setattr__(self, "units", tuple(self.units))
        object.__setattr__(self, "speaker_widths", tuple(self.speaker_widths))
        object.__setattr__(self, "vocabulary", tuple(self.vocabulary))
        if self.frontend not in ("waveform", "logmel"):
            raise ConfigError(f'frontend {self.frontend!r}: choose "waveform" or "logmel"')
        if self.unit_head not in ("cosine", "linear"):
            raise ConfigError(f'unit_head {self.unit_head!r}: choose "cosine" or "linear"')
        if self.speaker_layers not in ("weighted", "last"):
            raise ConfigError(f'speaker_layers {self.speaker_layers!r}: choose "weighted" or "last"')
        if self.conv_norm not in ("group", "layer"):
            raise ConfigError(f'conv_norm {self.conv_norm!r}: choose "group" or "layer"')
        if self.frame_ms not in ((20,) if self.frontend == "waveform" else (20, 40)):
            raise ConfigError(
                f"frame_ms {self.frame_ms}: use 20 with the waveform front end, 20 or 40 with the log-mel one"
            )
        for name, count in (("heads", self.heads), ("position_groups", self.position_groups)):
            if self.dim % count:
                raise ConfigError(f"dim {self.dim} is not a multiple of {name} {count}")


class HuBERT(SpeakerEncoder):
    """Layer 0 = input of the transformer (with positions), k = after block k; in a pre-norm model (Large, X-Large) the
    last layer includes the output norm.
    """

    family = "hubert"
    Config = HubertConfig
    quantizer: Quantizer | None = None
    transformer_class: ClassVar[type[Transformer]] = Transformer

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate = config.sample_rate
        self.dim = config.dim
        self.num_layers = config.layers
        self.frontend = _frontend(config)
        self.hop, self.min_samples = self.frontend.hop, self.frontend.window
        self.projection = FeatureProjection(config.conv_dim, config.dim)
        self.mask_embedding = nn.Parameter(torch.rand(config.dim))
        self.position = ConvPosition(config.dim, config.position_kernel, config.position_groups)
        self.transformer = self.transformer_class(
            config.layers,
            config.dim,
            config.heads,
            config.ffn_dim,
            norm_first=config.norm_first,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            activation_dropout=config.activation_dropout,
            layerdrop=config.layerdrop,
        )
        self.head = _unit_head(config) if config.units else None
        self.ctc = Linear(config.dim, len(config.vocabulary)) if config.vocabulary else None
        self.speaker = _speaker_head(config) if config.speaker_widths else None
        self.apply(_init_weights)

    def norm_stats(self, clip: Clip) -> Tensor | None:
        return self.frontend.norm_stats(clip)

    def forward(
        self,
        waves: Tensor,
        lengths: Tensor,
        *,
        layer: Layer = -1,
        norm_stats: Tensor | None = None,
        masked: Tensor | None = None,
    ) -> Frames:
        """As Encoder.forward. masked (B, T): frames replaced by mask_embedding before the transformer."""
        return self.contextualize(self.frontend(waves, lengths, norm_stats), lengths, layer=layer, masked=masked)

    def contextualize(
        self,
        features: Tensor,
        lengths: Tensor,
        *,
        layer: Layer = -1,
        masked: Tensor | None = None,
        masked_channels: Tensor | None = None,
    ) -> Frames:
        """Everything after the front end: features (B, T, C) of clips of lengths (B,) samples -> Frames.

        masked_channels (B, D): channels that are set to zero in all frames, for fine-tuning.
        """
        x = self.projection(features)  # (B, T, D)
        counts = (lengths - self.min_samples) // self.hop + 1  # (B,)
        mask = padding_mask(counts, x)  # (B, T)
        if masked is not None:
            masked = masked.to(x.device, non_blocking=True)
            x = torch.where(masked[..., None], self.mask_embedding.to(x.dtype), x)
        if masked_channels is not None:
            x = torch.where(masked_channels[:, None], x.new_zeros(()), x)
        x = zero_padding(x, mask)
        x = x + self.position(x)
        states = [zero_padding(state, mask) for state in self.transformer(x, mask, self.resolve_layers(layer))]
        x = states[0] if isinstance(layer, int) else torch.stack(states)
        return Frames(x, counts, self.frame_rate, self.first_time)

    def logits(self, waves: Any, sample_rate: int | None = None) -> Frames:
        """CTC logits: x (B, T, V) in the order of config.vocabulary, blank first.

        Raises ConfigError if the model has no CTC head, and the errors of `encode`.
        """
        clips, _ = audio.as_clips(waves, sample_rate, self.sample_rate)
        rows = self._logits(clips)
        lengths = torch.tensor([len(row) for row in rows])
        return Frames(pad_sequence(rows, batch_first=True), lengths, self.frame_rate, self.first_time)

    def log_probabilities(self, clips: Sequence[Clip], progress: Callable[[float], None] | None = None) -> list[Tensor]:
        """Log-probabilities (T, V) of the CTC symbols for each clip at `sample_rate`. No other results stay in memory.

        progress: called with the seconds of audio processed. Raises the errors of `logits`.
        """
        return [row.log_softmax(-1) for row in self._logits(clips, progress)]

    def _logits(self, clips: Sequence[Clip], progress: Callable[[float], None] | None = None) -> list[Tensor]:
        if self.ctc is None:
            raise ConfigError(
                f"{self.name or 'this HuBERT'} has no CTC head: its vocabulary is empty; "
                "train one with python -m zoo.recipes.hubert.finetune"
            )
        rows = [torch.zeros(n, len(self.config.vocabulary), dtype=torch.float32) for n in self._count_all(clips)]
        for batch, frames in self._forward_batches(clips, [self.num_layers]):
            with torch.no_grad():
                x = self.ctc(frames.x[0].to(self.ctc.weight.dtype)).float().cpu()  # (B, T, V)
            for chunk, scores in zip(batch, x, strict=True):
                rows[chunk.clip][chunk.keep] = scores[chunk.real]
                if progress is not None:
                    progress((chunk.keep.stop - chunk.keep.start) / self.frame_rate)
        return rows

    @overload
    def transcribe(
        self, waves: str | Path, sample_rate: int | None = ..., **options: Unpack[TranscribeOptions]
    ) -> Transcript: ...
    @overload
    def transcribe(self, waves: Any, sample_rate: int | None = ..., **options: Unpack[TranscribeOptions]) -> Any: ...
    def transcribe(self, waves: Any, sample_rate: int | None = None, **options: Any) -> Any:
        """Transcribe: a Transcript, or a list of them. Options: see `zoo.models.ctc.transcription.transcribe`."""
        from zoo.models.ctc.transcription import transcribe

        return transcribe(self, waves, sample_rate, **options)

    def attach(self, quantizer: Quantizer) -> None:
        """Set the quantizer for `units`. It is then saved and loaded with the model.

        Raises CheckpointError if it was fitted on another encoder, ConfigError if its frame rate is another one.
        """
        quantizer.check(self)
        if quantizer.rate != self.frame_rate:
            raise ConfigError(
                f"the quantizer has {quantizer.rate:g} units a second, but the model has {self.frame_rate:g} frames a "
                "second; fit a quantizer on this model"
            )
        self.quantizer = quantizer

    def units(self, waves: Any, sample_rate: int | None = None, *, dedup: bool = False) -> Tensor | list[Tensor]:
        """Hidden units of each clip: int64 (T,), or (T, codebooks) if the quantizer has several.

        Arguments as for `encode`; a list for a list, one tensor for a single input. Apart from the units,
        memory does not grow with the length of a clip.
        dedup: replace each run of equal units by one unit.
        Raises ConfigError if the model has no quantizer, and the errors of `encode`.
        """
        if self.quantizer is None:
            raise ConfigError(
                f"{self.name or 'this HuBERT'} has no quantizer: fit one with zoo.units.fit_quantizer and attach it"
            )
        waves = audio.to_list(waves)
        clips, single = audio.as_clips(waves, sample_rate, self.sample_rate)
        units = [torch.empty(n, len(self.quantizer.sizes), dtype=torch.int64) for n in self._count_all(clips, waves)]
        for batch, frames in self._forward_batches(clips, [self.quantizer.layer]):
            for chunk, x in zip(batch, frames.unpad(), strict=True):
                units[chunk.clip][chunk.keep] = self.quantizer.assign(x[0, chunk.real]).cpu()
        units = [clip[:, 0] if clip.shape[1] == 1 else clip for clip in units]
        if dedup:
            units = [torch.unique_consecutive(clip, dim=0) for clip in units]
        return units[0] if single else units

    def save_assets(self, directory: Path) -> list[str]:
        if self.quantizer is None:
            return []
        try:
            self.quantizer.check(self)
        except CheckpointError:
            return [
                "saved without the quantizer, which gives `units`: the weights have changed since it was fitted; "
                "zoo.units.fit_quantizer fits another one"
            ]
        self.quantizer.save(directory / QUANTIZER)
        return []

    def load_assets(self, directory: Path) -> None:
        if (directory / QUANTIZER).exists():
            self.attach(Quantizer.load(directory / QUANTIZER))

    def preprocessing(self) -> dict[str, Any]:
        settings = {k: v for k, v in asdict(self.config).items() if k in ("frontend", "frame_ms", "mels", "normalize")}
        if self.config.frontend == "logmel":
            settings["normalize"] = "mean power"
        return super().preprocessing() | settings


def _unit_head(config: HubertConfig) -> UnitHead | LinearUnitHead:
    if config.unit_head == "linear":
        return LinearUnitHead(config.dim, config.units)
    return UnitHead(config.dim, config.unit_dim, config.units, config.temperature)


def _speaker_head(config: HubertConfig) -> XVector:
    layers = config.layers if config.speaker_layers == "weighted" else 0
    return XVector(config.dim, config.speaker_widths, config.speaker_dim, layers)


def _frontend(config: HubertConfig) -> WaveformFrontend | LogMelFrontend:
    if config.frontend == "logmel":
        return LogMelFrontend(config.conv_dim, config.sample_rate, config.frame_ms, config.mels)
    norm = cast(Literal["group", "layer"], config.conv_norm)
    return WaveformFrontend(config.conv_dim, norm, bias=config.conv_bias, normalize=config.normalize)


def _init_weights(module: nn.Module) -> None:
    """Initial values of fairseq's HuBERT: linear N(0, 0.02), front-end convolutions Kaiming normal."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv1d):
        nn.init.kaiming_normal_(module.weight)
