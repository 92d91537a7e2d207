"""Encoders without weights: baselines for learned representations.

Legend: B batch, S samples, T frames, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.encoder import Encoder, Frames, Layer
from zoo.errors import ConfigError
from zoo.nn.frontend import MFCC_MELS, LogMel, mfcc
from zoo.validation import check_range, check_structure


@dataclass(frozen=True)
class SpectralConfig:
    """kind: "logmel" (`bands` mel bands) or "mfcc" (`bands` cepstra with first and second differences)."""

    kind: str = "logmel"
    sample_rate: int = 16_000
    bands: int = 80

    def __post_init__(self) -> None:
        check_structure(self)
        if self.kind not in ("logmel", "mfcc"):
            raise ConfigError(f'kind {self.kind!r}: choose "logmel" or "mfcc"')
        if self.kind == "mfcc":
            check_range("bands", self.bands, 1, MFCC_MELS)


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

    def forward(self, waves: Tensor, lengths: Tensor, *, layer: Layer = -1, norm_stats: Tensor | None = None) -> Frames:
        """As Encoder.forward."""
        layers = self.resolve_layers(layer)
        clips = self._frames([wave[:n] for wave, n in zip(waves, lengths.tolist(), strict=True)])
        x = nn.utils.rnn.pad_sequence(clips, batch_first=True)  # (B, T, D)
        x = x if isinstance(layer, int) else x.expand(len(layers), *x.shape)
        counts = torch.tensor([len(clip) for clip in clips])
        return Frames(x, counts, self.frame_rate, self.first_time)

    def _frames(self, clips: list[Tensor]) -> list[Tensor]:
        """(S,) -> (T, D) each."""
        if self.config.kind == "mfcc":
            return mfcc(clips, self.sample_rate, self.config.bands)
        return [self.logmel(clip[None])[0] for clip in clips]
