"""MuLan: a joint embedding of music and text (Huang et al. 2022, arXiv 2208.12415).

    10 s of music -> log-mel -> ResNet-50 or AST -> linear -> unit sphere <- linear <- BERT [CLS] <- text

Legend: B batch, S samples, T 10 s windows (the frames of this encoder), M mel frames, N mels or texts, D joint width.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.encoder import Frames, Layer
from zoo.errors import ConfigError
from zoo.models.joint import JointEncoder
from zoo.models.mulan.audio import ASTTower, ResNetTower, SpecAugment
from zoo.models.mulan.text import Tokenizer
from zoo.models.windows import cut_windows, put_back
from zoo.nn.bert import TextTower
from zoo.nn.frontend import LogMel
from zoo.nn.linear import Linear
from zoo.nn.losses import Temperature
from zoo.validation import check_range, check_structure

SHORTEST_WINDOW = 0.1  # s
LONGEST_WINDOW = 3600.0  # s; the last window of a clip is filled up with silence


@dataclass(frozen=True)
class MulanConfig:
    """The structure of a MuLan, without the tokenizer. Defaults: ResNet-50 on 64 mels, BERT-base.

    tower: "resnet" (resnet_*) or "ast" (audio_*, patch, patch_stride). text_length: maximum number of tokens of a text.
    """

    sample_rate: int = 16_000
    window_seconds: float = 10.0
    dim: int = 128
    tower: str = "resnet"
    mels: int = 64
    resnet_width: int = 64
    resnet_blocks: tuple[int, ...] = (3, 4, 6, 3)
    resnet_stem_stride: int = 1
    audio_dim: int = 768
    audio_layers: int = 12
    audio_heads: int = 12
    audio_ffn_dim: int = 3072
    patch: int = 16
    patch_stride: int = 10
    vocab_size: int = 30_522
    text_dim: int = 768
    text_layers: int = 12
    text_heads: int = 12
    text_ffn_dim: int = 3072
    text_positions: int = 512
    text_length: int = 512
    temperature: float = 0.1

    def __post_init__(self) -> None:
        check_structure(self)
        object.__setattr__(self, "resnet_blocks", tuple(self.resnet_blocks))
        if self.tower not in ("resnet", "ast"):
            raise ConfigError(f'tower {self.tower!r}: choose "resnet" or "ast"')
        if not 0 < self.temperature <= 1:
            raise ConfigError(f"temperature {self.temperature}: give a value above 0 and at most 1")
        check_range("window_seconds", self.window_seconds, SHORTEST_WINDOW, LONGEST_WINDOW)
        check_range("text_length", self.text_length, 2)  # [CLS] and [SEP]
        check_range("resnet_stem_stride", self.resnet_stem_stride, 1, self.mels)
        if not self.resnet_blocks:
            raise ConfigError("resnet_blocks (): give at least one stage")
        if self.text_length > self.text_positions:
            raise ConfigError(f"text_length {self.text_length} exceeds text_positions {self.text_positions}; lower it")


class MuLan(JointEncoder):
    """Its frames are unit embeddings of consecutive 10 s windows, the missing part of the last one masked."""

    family = "mulan"
    Config = MulanConfig
    tokenizer_class = Tokenizer
    tokenizer: Tokenizer | None = None

    def __init__(self, config: MulanConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate, self.dim, self.text_length = config.sample_rate, config.dim, config.text_length
        self.logmel = LogMel(config.sample_rate, config.mels)
        self.hop = round(config.window_seconds * config.sample_rate)
        self.min_samples = (
            10 * self.logmel.hop + self.logmel.window
        )  # too short for music, but long enough for the towers
        self.mel_frames = self.hop // self.logmel.hop
        self.augment = SpecAugment()
        self.audio = _audio_tower(config, self.mel_frames)
        self.text = TextTower(
            config.vocab_size,
            dim=config.text_dim,
            layers=config.text_layers,
            heads=config.text_heads,
            ffn_dim=config.text_ffn_dim,
            positions=config.text_positions,
        )
        self.audio_projection = Linear(self.audio.dim, config.dim)
        self.text_projection = Linear(config.text_dim, config.dim)
        self.temperature = Temperature(config.temperature)

    @property
    def frame_samples(self) -> int:
        return self.hop + self.logmel.window - self.logmel.hop

    def forward(self, waves: Tensor, lengths: Tensor, *, layer: Layer = -1, norm_stats: Tensor | None = None) -> Frames:
        """As Encoder.forward: x (B, T, D) of unit vectors."""
        layers = self.resolve_layers(layer)
        counts = torch.tensor([self.count_frames(n) for n in lengths.tolist()])
        real = (lengths - self.logmel.window) // self.logmel.hop + 1  # (B,) mel frames
        x = self.embed_windows(self.logmel(waves), real, counts)  # (B, T, D)
        x = x if isinstance(layer, int) else x.expand(len(layers), *x.shape)
        return Frames(x, counts, self.frame_rate, self.first_time)

    def embed_windows(self, mel: Tensor, lengths: Tensor, counts: Tensor) -> Tensor:
        """mel (B, M, N), lengths (B,) real mel frames, counts (B,) windows -> (B, T, D), zero in padding."""
        windows, remaining, places = cut_windows(mel, lengths, counts, self.mel_frames)
        return put_back(self.embed_spectrogram(windows, remaining), places)

    def embed_spectrogram(
        self,
        mel: Tensor,
        lengths: Tensor | None = None,
        *,
        layout: Literal["time_first", "frequency_first"] = "time_first",
    ) -> Tensor:
        """Unit embeddings (B, D) of log-mel windows: mel (B, M, N) or, frequency first, (B, N, M) of at most 10 s.

        lengths (B,): real mel frames; None = all. The layout is never guessed.
        Raises ConfigError for a shape that does not fit the layout, and for lengths outside of the frames.
        """
        mel = mel if layout == "time_first" else mel.transpose(1, 2)  # (B, M, N)
        if mel.ndim != 3 or mel.shape[2] != self.config.mels or not 0 < mel.shape[1] <= self.mel_frames:
            raise ConfigError(
                f"spectrogram of shape {tuple(mel.shape)}, time first: expected (batch, 1 to {self.mel_frames} frames, "
                f'{self.config.mels} mels); give layout="frequency_first" if it is (batch, mels, frames)'
            )
        if lengths is None:
            lengths = torch.full((len(mel),), mel.shape[1])
        elif lengths.shape != mel.shape[:1] or not bool(((lengths > 0) & (lengths <= mel.shape[1])).all()):
            raise ConfigError(
                f"lengths {lengths.tolist()}: give {len(mel)} numbers of mel frames, 1 to {mel.shape[1]} each"
            )
        mel = F.pad(mel, (0, 0, 0, self.mel_frames - mel.shape[1]))
        states = self.audio(self.augment(mel, lengths), lengths)  # (B, tower width)
        return F.normalize(self.audio_projection(states).float(), dim=-1)

    def forward_text(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """The differentiable text path: token ids (B, T), lengths (B,) -> unit embeddings (B, D)."""
        return F.normalize(self.text_projection(self.text(ids, lengths)).float(), dim=-1)

    def preprocessing(self) -> dict[str, Any]:
        settings = {k: v for k, v in asdict(self.config).items() if k in ("mels", "window_seconds", "text_length")}
        return super().preprocessing() | {"clip_seconds": settings.pop("window_seconds")} | settings


def _audio_tower(config: MulanConfig, frames: int) -> ResNetTower | ASTTower:
    if config.tower == "resnet":
        stride = (config.resnet_stem_stride, config.resnet_stem_stride)
        return ResNetTower(
            config.mels, config.resnet_width, blocks=config.resnet_blocks, stem_stride=stride, frames=frames
        )
    return ASTTower(
        config.mels,
        dim=config.audio_dim,
        layers=config.audio_layers,
        heads=config.audio_heads,
        ffn_dim=config.audio_ffn_dim,
        patch=config.patch,
        stride=config.patch_stride,
        frames=frames,
    )
