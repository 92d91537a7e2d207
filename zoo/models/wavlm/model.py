"""WavLM: HuBERT whose attention has a gated relative position bias (Chen et al. 2021, arXiv 2110.13900).

    score of query i and key j = q_i k_j / sqrt(d) + gate(x_i) * table[bucket(j - i)]

One table of biases serves all blocks; each block has its own gate.

Legend: B batch, T frames, D width, H heads, d = D / H.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.hubert.model import HuBERT
from zoo.nn.attention import SelfAttention
from zoo.nn.transformer import Transformer

BUCKETS, FARTHEST = 320, 800  # of all published models: a distance of FARTHEST frames or more is in the last bucket
GATE_STD = 0.02  # initial values, as of the linear layers


def bucket_of(distance: Tensor) -> Tensor:
    """Bucket of each distance in frames, int64: exact up to a quarter of all buckets, then logarithmic (section 3.1).

    Later keys have the second half of the buckets.
    """
    half = BUCKETS // 2
    exact = half // 2
    size = distance.abs()
    far = exact + (size.clamp(min=1).float() / exact).log() / math.log(FARTHEST / exact) * (half - exact)
    bucket = torch.where(size < exact, size, far.long().clamp(max=half - 1))
    return bucket + (distance > 0) * half


class RelativePositions(nn.Module):
    """A learned bias for each head and distance of query and key."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.table = nn.Embedding(BUCKETS, heads)

    def forward(self, frames: int) -> Tensor:
        """(H, T, T) for T frames, queries before keys."""
        distance = torch.arange(1 - frames, frames, device=self.table.weight.device)
        by_distance = self.table(bucket_of(distance)).T  # (H, 2 T - 1)
        return by_distance.unfold(1, frames, 1).flip(1)  # the window of query i starts at distance -i


class GatedAttention(SelfAttention):
    """Self-attention that scales the relative position bias of each query and head by a gate in (1, 2) (equation 5)."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__(dim, heads, dropout)
        self.gate_weight = nn.Parameter(torch.empty(8, dim // heads))
        self.gate_bias = nn.Parameter(torch.zeros(8))
        self.gate_scale = nn.Parameter(torch.ones(heads))
        nn.init.normal_(self.gate_weight, std=GATE_STD)

    def forward(self, x: Tensor, mask: Tensor | None, first: int | None = None, bias: Tensor | None = None) -> Tensor:
        """As SelfAttention; bias (H, T, T) of relative positions."""
        return super().forward(x, mask, first, None if bias is None else self._gate(x) * bias)

    def _gate(self, x: Tensor) -> Tensor:
        """x (B, T, D) -> (B, H, T, 1)."""
        weight = self.gate_weight.unflatten(0, (2, 4)).sum(1)  # (2, d): the published layer adds up four outputs
        offset = self.gate_bias.unflatten(0, (2, 4)).sum(1)  # (2,)
        by_head = x.unflatten(2, (len(self.gate_scale), -1)).transpose(1, 2)  # (B, H, T, d)
        reset, update = (by_head @ weight.T + offset).sigmoid().split(1, dim=-1)  # (B, H, T, 1) each
        return reset * (update * self.gate_scale[:, None, None] - 1) + 2


class GatedTransformer(Transformer):
    """A Transformer with gated relative position bias."""

    def __init__(self, layers: int, dim: int, heads: int, ffn_dim: int, **options: Any) -> None:
        super().__init__(layers, dim, heads, ffn_dim, **options)
        self.positions = RelativePositions(heads)
        for block in self.blocks:
            block.attention = GatedAttention(dim, heads, options.get("attention_dropout", 0.0))

    def forward(
        self, x: Tensor, mask: Tensor | None, layers: list[int], first: int | None = None, bias: Tensor | None = None
    ) -> list[Tensor]:
        """As Transformer.forward; the bias is its own."""
        return super().forward(x, mask, layers, first, self.positions(x.shape[1]))


class WavLM(HuBERT):
    """HuBERT with gated relative position bias; layers, units, CTC and speaker vectors are those of HuBERT."""

    family = "wavlm"
    transformer_class = GatedTransformer
