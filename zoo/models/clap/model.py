"""CLAP: a joint embedding of sound and text (Wu et al. 2022, arXiv 2211.06687), with the numbers of transformers.

    10 s of sound -> log-mel -> HTS-AT -> two layers -> unit sphere <- two layers <- RoBERTa <s> <- text

transformers crops long clips at random. Here windows are consecutive, so a clip always has the same vector:

    unfused  windows of 10 s
    fused    windows of 30 s. A window of more than 10 s has four views: all of it, shrunk to 10 s; its first 10 s; its
             middle 10 s; its last 10 s. transformers can draw these crops. Other windows are not fused.

A clip shorter than 10 s is repeated as often as it fits, and followed by silence, as in transformers.

Legend: B batch, S samples, T windows (the frames of this encoder), R windows of all clips, C views, M mel frames,
N mels, D joint width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.encoder import Frames, Layer
from zoo.errors import ConfigError
from zoo.models.clap.audio import CROPS, HTSAT, Spectrogram, views
from zoo.models.clap.text import Tokenizer
from zoo.models.joint import JointEncoder
from zoo.models.windows import cut_windows, put_back
from zoo.nn.bert import TextTower
from zoo.nn.linear import Linear
from zoo.nn.losses import Temperature
from zoo.validation import check_range, check_structure

LONGEST_WINDOW = 3600.0  # s; every clip is filled up to a window


@dataclass(frozen=True)
class ClapConfig:
    """The structure of a CLAP, without the tokenizer. Defaults: laion/clap-htsat-unfused.

    fused: windows of fused_seconds, seen as a whole and in crops of window_seconds; else windows of window_seconds.
    image: side of the square that a spectrogram is folded to; text_length: maximum number of tokens of a text.
    """

    sample_rate: int = 48_000
    window_seconds: float = 10.0
    fused: bool = False
    fused_seconds: float = 30.0
    dim: int = 512
    mels: int = 64
    fft: int = 1024
    mel_hop: int = 480
    low_hz: float = 50.0
    high_hz: float = 14_000.0
    image: int = 256
    patch: int = 4
    audio_dim: int = 96
    audio_depths: tuple[int, ...] = (2, 2, 6, 2)
    audio_heads: tuple[int, ...] = (4, 8, 16, 32)
    audio_dropout: float = 0.1
    attention_window: int = 8
    fusion_reduction: int = 4
    vocab_size: int = 50_265
    text_dim: int = 768
    text_layers: int = 12
    text_heads: int = 12
    text_ffn_dim: int = 3072
    text_positions: int = 512
    text_length: int = 512
    text_dropout: float = 0.1
    text_attention_dropout: float = 0.1
    text_eps: float = 1e-12
    temperature: float = 0.07

    def __post_init__(self) -> None:
        check_structure(self)
        check_range("fused_seconds", self.fused_seconds, 0, LONGEST_WINDOW, above=True)
        check_range("low_hz", self.low_hz, 0)
        check_range("high_hz", self.high_hz, self.low_hz, above=True)
        check_range("text_eps", self.text_eps, 0)
        object.__setattr__(self, "audio_depths", tuple(self.audio_depths))
        object.__setattr__(self, "audio_heads", tuple(self.audio_heads))
        check_range("text_length", self.text_length, 2)  # <s> and </s>
        if self.text_length > self.text_positions:
            raise ConfigError(f"text_length {self.text_length} exceeds text_positions {self.text_positions}; lower it")
        if not self.audio_depths or len(self.audio_depths) != len(self.audio_heads):
            raise ConfigError(f"audio_depths {self.audio_depths}, audio_heads {self.audio_heads}: one of each a stage")
        self._check_image()

    def _check_image(self) -> None:
        samples = round(self.window_seconds * self.sample_rate)
        if samples <= self.fft:
            raise ConfigError(f"window_seconds {self.window_seconds}: longer than one FFT of {self.fft} samples is due")
        if self.fused and self.fused_seconds < self.window_seconds:
            raise ConfigError(f"fused_seconds {self.fused_seconds} is below window_seconds {self.window_seconds}")
        if self.image % self.mels or self.image % self.patch:
            raise ConfigError(f"image {self.image} is not a multiple of {self.mels} mels and of patch {self.patch}")
        frames, room = samples // self.mel_hop + 1, self.image * (self.image // self.mels)
        if frames > room:
            raise ConfigError(f"a window has {frames} mel frames; an image of {self.image} has room for {room}")


class Clap(JointEncoder):
    """Its frames are unit embeddings of consecutive windows: 10 s, or 30 s for a fused model."""

    family = "clap"
    Config = ClapConfig
    tokenizer_class = Tokenizer
    tokenizer: Tokenizer | None = None

    def __init__(self, config: ClapConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate, self.dim, self.text_length = config.sample_rate, config.dim, config.text_length
        window = round(config.window_seconds * config.sample_rate)
        self.hop = round(config.fused_seconds * config.sample_rate) if config.fused else window
        self.min_samples = config.fft  # shorter sounds would be repeated hundreds of times
        self.spectrogram = Spectrogram(
            config.sample_rate,
            config.mels,
            config.fft,
            config.mel_hop,
            config.low_hz,
            config.high_hz,
            least=window,
            slaney=not config.fused,
        )
        self.mel_frames = self.spectrogram.count_frames(window)
        self.audio = _audio_tower(config)
        self.text = _text_tower(config)
        self.text_pooler = Linear(config.text_dim, config.text_dim)
        self.audio_projection = _projection(self.audio.dim, config.dim)
        self.text_projection = _projection(config.text_dim, config.dim)
        self.temperature = Temperature(config.temperature)

    @property
    def frame_samples(self) -> int:
        return self.hop

    def forward(self, waves: Tensor, lengths: Tensor, *, layer: Layer = -1, norm_stats: Tensor | None = None) -> Frames:
        """As Encoder.forward: x (B, T, D) of unit vectors."""
        layers = self.resolve_layers(layer)
        counts = torch.tensor([self.count_frames(n) for n in lengths.tolist()])
        windows, real, places = cut_windows(waves, lengths, counts, self.hop)  # (R, samples), (R,), (B, T)
        states = self.audio(*self.mel_views(windows, real))  # (R, tower width)
        x = put_back(F.normalize(self.audio_projection(states).float(), dim=-1), places)  # (B, T, D)
        x = x if isinstance(layer, int) else x.expand(len(layers), *x.shape)
        return Frames(x, counts, self.frame_rate, self.first_time)

    def mel_views(self, windows: Tensor, lengths: Tensor) -> tuple[Tensor, list[int]]:
        """windows (R, S), lengths (R,) real samples -> log-mel views (R, C, M, N), and indices of windows to fuse.

        C is 1, or 4 for a fused model: the views of a window that is not fused are all the same.
        """
        mel = self.spectrogram(windows, lengths)  # (R, M', N)
        if not self.config.fused:
            return mel[:, None], []
        frames = [self.spectrogram.count_frames(n) for n in lengths.tolist()]
        long = [index for index, count in enumerate(frames) if count > self.mel_frames]
        stacks = [mel[index, : self.mel_frames].expand(1 + CROPS, -1, -1) for index in range(len(frames))]
        for index in long:
            stacks[index] = views(mel[index, : frames[index]], self.mel_frames)
        return torch.stack(stacks), long

    def forward_text(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """The differentiable text path: token ids (N, tokens), lengths (N,) -> unit embeddings (N, D)."""
        states = torch.tanh(self.text_pooler(self.text(ids, lengths)))
        return F.normalize(self.text_projection(states).float(), dim=-1)

    def preprocessing(self) -> dict[str, Any]:
        names = ("mels", "fft", "mel_hop", "low_hz", "high_hz", "fused", "text_length")
        settings = {name: getattr(self.config, name) for name in names}
        return super().preprocessing() | {"clip_seconds": self.hop / self.sample_rate} | settings


def _audio_tower(config: ClapConfig) -> HTSAT:
    return HTSAT(
        config.mels,
        config.image,
        config.patch,
        config.audio_dim,
        config.audio_depths,
        config.audio_heads,
        config.attention_window,
        fusion=config.fusion_reduction if config.fused else None,
        dropout=config.audio_dropout,
    )


def _text_tower(config: ClapConfig) -> TextTower:
    return TextTower(
        config.vocab_size,
        dim=config.text_dim,
        layers=config.text_layers,
        heads=config.text_heads,
        ffn_dim=config.text_ffn_dim,
        positions=config.text_positions,
        dropout=config.text_dropout,
        attention_dropout=config.text_attention_dropout,
        eps=config.text_eps,
    )


def _projection(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(Linear(inputs, outputs), nn.ReLU(), Linear(outputs, outputs))
