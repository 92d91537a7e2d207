"""Pooling of the real frames of a clip into one vector, from statistics that can be accumulated over a long clip.

Legend: L layers, B batch, T frames, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.errors import AudioError, ConfigError
from zoo.nn.masking import lengths_to_mask

POOLINGS = ("mean", "max", "first", "stats")


def check_pooling(pooling: str) -> str:
    if pooling not in POOLINGS:
        raise ConfigError(f"pooling {pooling!r} is unknown; choose one of {', '.join(POOLINGS)}")
    return pooling


@dataclass
class PoolingStats:
    """Running statistics of frames, enough for every kind of pooling.

    count (...,) frames; total, squares (..., D) float64 sums of x and x^2; peak (..., D) maximum; first (..., D) frame.
    """

    count: Tensor
    total: Tensor
    squares: Tensor
    peak: Tensor
    first: Tensor

    @classmethod
    def empty(cls, *shape: int, device: torch.device | None = None) -> PoolingStats:
        """Statistics of no frames; shape (..., D)."""
        return cls(
            count=torch.zeros(shape[:-1], dtype=torch.float64, device=device),
            total=torch.zeros(shape, dtype=torch.float64, device=device),
            squares=torch.zeros(shape, dtype=torch.float64, device=device),
            peak=torch.full(shape, -torch.inf, dtype=torch.float32, device=device),
            first=torch.zeros(shape, dtype=torch.float32, device=device),
        )

    @classmethod
    def of(cls, x: Tensor, lengths: Tensor | None = None) -> PoolingStats:
        """Statistics of x (..., T, D). With lengths, x is (..., B, T, D) and the first lengths[b] >= 1 frames are real.

        Raises AudioError for a clip without frames.
        """
        for_max = for_sums = x
        count = x.new_full(x.shape[:-2], x.shape[-2], dtype=torch.float64)
        if lengths is not None:
            _require_frames(lengths)
            mask = lengths_to_mask(lengths, x.shape[-2], x.device)[..., None]  # (B, T, 1)
            for_sums = torch.where(mask, x, 0.0)
            for_max = torch.where(mask, x, -torch.inf)
            count = lengths.double().to(x.device, non_blocking=True).expand(x.shape[:-2])
        for_sums = for_sums.double()
        return cls(count, for_sums.sum(-2), for_sums.square().sum(-2), for_max.amax(-2), x[..., 0, :])

    def add_(self, x: Tensor, *, start: bool) -> None:
        """Add frames x (..., T, D), in place, so that a long recording does not fragment the heap with small buffers.

        start: whether x is the start of the clip.
        """
        more = PoolingStats.of(x)
        self.count += more.count
        self.total += more.total
        self.squares += more.squares
        torch.maximum(self.peak, more.peak, out=self.peak)
        if start:
            self.first.copy_(more.first)

    def pool(self, pooling: str) -> Tensor:
        """float32 (..., D); (..., 2 D) for "stats" = mean and population standard deviation."""
        check_pooling(pooling)
        if pooling == "max":
            return self.peak.float()
        if pooling == "first":
            return self.first.float()
        mean = self.total / self.count[..., None]  # (..., D)
        if pooling == "mean":
            return mean.float()
        variance = self.squares / self.count[..., None] - mean.square()
        return torch.cat([mean, variance.clamp(min=0).sqrt()], dim=-1).float()


def _require_frames(lengths: Tensor) -> None:
    if len(empty := (lengths < 1).nonzero()):
        raise AudioError(
            f"waveform {int(empty[0])}",
            "has no frame to pool: it is shorter than the model's min_samples; leave it out",
        )
