"""Encoders without weights: the baselines that a learned representation has to beat.

Legend: B batch, S samples, T frames, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.encoder import Encoder, Frames, Layer
from zoo.errors import ConfigError
from zoo.frontend import LogMel, mfcc


@dataclass(frozen=True)
class SpectralConfig:
    """kind: "logmel" (`bands` mel bands) or "mfcc" (`bands` cepstra with first and second differences)."""

    kind: str = "logmel"
    sample_rate: int = 16_000
    bands: int = 80

    def __post_init__(self) -> None:
        if self.kind not in ("logmel", "mfcc"):
            raise ConfigError(f'kind {self.kind!r}: choose "logmel" or "mfcc"')


class Spectral(Encoder):
    """Log-mel or MFCC frames every 10 ms; the only layer is 0."""

    family = "spectral"
    Config = SpectralConfig
    num_layers = 0

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate = config.sample_rate
        self.logmel = LogMel(config.sample_rate, config.bands)
        self.hop, self.min_samples = self.logmel.hop, self.logmel.window
        self.dim = config.bands * (3 if config.kind == "mfcc" else 1)

    def forward(self, waves: Tensor, lengths: Tensor, *, layer: Layer = -1, moments: Tensor | None = None) -> Frames:
        """As Encoder.forward."""
        layers = self.resolve_layers(layer)
        counts = [self.count_frames(n) for n in lengths.tolist()]
        x = waves.new_zeros(len(waves), max(counts), self.dim)  # (B, T, D)
        for row, wave, samples, count in zip(x, waves, lengths.tolist(), counts, strict=True):
            row[:count] = self._frames(wave[:samples])
        x = x if isinstance(layer, int) else x.expand(len(layers), *x.shape)
        return Frames(x, torch.tensor(counts, device=waves.device), self.frame_rate)

    def _frames(self, wave: Tensor) -> Tensor:
        """(S,) -> (T, D)."""
        if self.config.kind == "mfcc":
            return mfcc(wave, self.sample_rate, self.config.bands)
        return self.logmel(wave[None])[0]
