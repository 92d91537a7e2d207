"""Heads that predict hidden units in pre-training.

Legend: D width, K classes of a codebook.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.nn.linear import Linear


class UnitHead(nn.Module):
    """Logits of hidden units: cos(A o_t, e_k) / temperature for each codebook (section II-B, equation 3)."""

    def __init__(self, dim: int, unit_dim: int, units: tuple[int, ...], temperature: float) -> None:
        super().__init__()
        self.units = units
        self.temperature = temperature
        self.projection = Linear(dim, unit_dim * len(units))
        self.codes = nn.Parameter(torch.rand(sum(units), unit_dim))

    def forward(self, x: Tensor) -> list[Tensor]:
        """x (..., D) -> one (..., K) per codebook."""
        queries = self.projection(x).unflatten(-1, (len(self.units), -1))  # (..., codebooks, unit_dim)
        with torch.autocast(x.device.type, enabled=False):  # in bfloat16 the highest cosines are often equal
            queries = F.normalize(queries.float(), dim=-1)
            codes = F.normalize(self.codes.float(), dim=-1).split(list(self.units))
            return [queries[..., i, :] @ code.T / self.temperature for i, code in enumerate(codes)]


class LinearUnitHead(nn.Module):
    """Logits of hidden units by a linear map: cheaper than cosines, as in Fast-HuBERT (arXiv 2309.13860)."""

    def __init__(self, dim: int, units: tuple[int, ...]) -> None:
        super().__init__()
        self.units = units
        self.projection = Linear(dim, sum(units))

    def forward(self, x: Tensor) -> list[Tensor]:
        """x (..., D) -> one (..., K) per codebook."""
        return list(self.projection(x).float().split(list(self.units), dim=-1))
