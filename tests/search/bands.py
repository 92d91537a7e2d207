"""An encoder that measures the energy of eight frequency bands, and embeds a few words for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from zoo.encoder import Encoder, Frames, Layer

WORDS = {"lowest": 0, "low": 1, "high": 6, "highest": 7}


@dataclass(frozen=True)
class BandsConfig:
    gain: float = 1.0


class Bands(Encoder):
    family = "bands"
    Config = BandsConfig
    num_layers = 0

    def __init__(self, config: BandsConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate, self.hop, self.min_samples, self.dim = 8_000, 400, 400, 8

    def forward(self, waves: Tensor, lengths: Tensor, *, layer: Layer = -1, norm_stats: Tensor | None = None) -> Frames:
        spectrum = torch.fft.rfft(waves.unfold(1, 400, 400)).abs()[..., :200]  # (B, T, 200)
        x = self.config.gain * spectrum.unflatten(-1, (8, 25)).sum(-1)  # (B, T, 8)
        frames = Frames(x, lengths // 400, self.frame_rate)
        x = torch.where(frames.mask[..., None], x, 0.0)
        return Frames(x if isinstance(layer, int) else x.expand(len(list(layer)), *x.shape), frames.lengths, 20.0)

    def embed_text(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([torch.eye(8)[WORDS[text]] for text in texts])


def write_tone(path: Path, band: int, seconds: float = 0.5) -> Path:
    """A sine in the middle of a band, with a little of the one above."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = torch.arange(round(seconds * 8_000)) / 8_000
    wave = sum(0.3 * a * torch.sin(6.283185 * (500 * b + 260) * time) for a, b in ((1, band), (0.3, (band + 1) % 8)))
    soundfile.write(path, wave.numpy(), 8_000)
    return path
