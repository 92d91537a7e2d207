"""AST: Audio Spectrogram Transformer (Gong et al. 2021, arXiv 2104.01778).

    10.24 s -> Kaldi log-mel, zeros after the end -> patches and two tokens -> transformer -> mean of the two tokens

Legend: L layers, B batch, S samples, T windows (the frames of this encoder), M mel frames, N mels, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.encoder import Encoder, Frames, Layer
from zoo.errors import ConfigError
from zoo.models.ast.fbank import KaldiFbank
from zoo.models.mulan.audio import LEVEL, SPREAD, ASTTower
from zoo.models.windows import cut_windows, put_back
from zoo.nn.masking import padding_mask, zero_padding
from zoo.validation import check_range, check_structure


@dataclass(frozen=True)
class AstConfig:
    """The structure of an AST. Defaults are those trained on AudioSet.

    frames: mel frames of a window, 10 ms each; level, spread: log-mel is standardized by (x - level) / spread.
    """

    sample_rate: int = 16_000
    mels: int = 128
    frames: int = 1024
    level: float = LEVEL
    spread: float = SPREAD
    patch: int = 16
    stride: int = 10
    dim: int = 768
    layers: int = 12
    heads: int = 12
    ffn_dim: int = 3072

    def __post_init__(self) -> None:
        check_structure(self)
        check_range("sample_rate", self.sample_rate, 1000)
        check_range("spread", self.spread, 0, above=True)
        if self.dim % self.heads:
            raise ConfigError(f"dim {self.dim} is not a multiple of heads {self.heads}")


class AST(Encoder):
    """Its frames are windows of 10.24 s without overlap: at each layer, the mean of the [CLS] and distillation tokens.

    Layer 0 is the input of the transformer, the same for every window. The last window of a clip is used if at least
    half of it is real audio, or if it is the only one. As in the published code, a window that is not full has zeros
    after the end of the audio, and they are attended to: a clip gives the same vector in every batch.
    """

    family = "ast"
    Config = AstConfig

    def __init__(self, config: AstConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate, self.dim, self.num_layers = config.sample_rate, config.dim, config.layers
        self.fbank = KaldiFbank(config.sample_rate, config.mels)
        self.hop, self.min_samples = config.frames * self.fbank.hop, self.fbank.window
        self.tower = ASTTower(
            config.mels,
            config.dim,
            config.layers,
            config.heads,
            config.ffn_dim,
            config.patch,
            config.stride,
            config.frames,
            level=config.level,
            spread=config.spread,
        )

    @property
    def frame_samples(self) -> int:
        return self.hop + self.fbank.window - self.fbank.hop

    def count_frames(self, samples: int) -> int:
        """The number of windows of a clip: at least one; the last one counts if half of it is real."""
        return 0 if samples < self.min_samples else max(1, (samples + self.hop // 2) // self.hop)

    def forward(self, waves: Tensor, lengths: Tensor, *, layer: Layer = -1, norm_stats: Tensor | None = None) -> Frames:
        """As Encoder.forward."""
        layers = self.resolve_layers(layer)
        counts = torch.tensor([self.count_frames(n) for n in lengths.tolist()])
        real = (lengths - self.fbank.window) // self.fbank.hop + 1  # (B,) mel frames
        mel = self.fbank(waves)  # (B, M, N)
        mel = zero_padding(mel, padding_mask(real, mel))
        windows, _, places = cut_windows(mel, real, counts, self.config.frames)  # (windows, frames, N), (B, T)
        full = torch.full((len(windows),), self.config.frames)
        patches = self.tower.embed_patches(windows, full)
        tokens = [state[:, :2].mean(1) for state in self.tower.transformer(patches, None, layers, first=2)]
        states = [put_back(token, places) for token in tokens]  # (B, T, D) each
        x = states[0] if isinstance(layer, int) else torch.stack(states)
        return Frames(x, counts, self.frame_rate, self.first_time)

    def preprocessing(self) -> dict[str, Any]:
        settings = {key: getattr(self.config, key) for key in ("mels", "frames", "level", "spread")}
        return super().preprocessing() | settings
