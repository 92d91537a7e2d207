"""Self-attention over padded batches.

Legend: B batch, T frames, D width, H heads, Q queries computed at once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.nn.kernels.attention import attend, attend_bfloat16
from zoo.nn.kernels.switch import use_kernels
from zoo.nn.linear import Linear


class SelfAttention(nn.Module):
    """softmax(Q K^T / sqrt(D/H)) V over real keys; one linear layer computes Q, K and V."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = Linear(dim, 3 * dim)
        self.out = Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None, first: int | None = None, bias: Tensor | None = None) -> Tensor:
        """x (B, T, D), mask (B, T) True = real -> (B, T, D).

        first: compute the output of the first frames only, (B, first, D); they still attend to all T frames.
        bias (B, H, T, T): added to the scores of all keys, before the softmax.
        """
        qkv = self.qkv(x)  # (B, T, 3 D)
        dropout = self.dropout if self.training else 0.0
        avoid_fused = qkv.dtype == torch.bfloat16 and use_kernels(qkv)  # PyTorch's fused kernel is slow on CPUs
        avoid_fused = avoid_fused and bias is None
        if avoid_fused and qkv.requires_grad and first is None:
            return self.out(attend(qkv, self.heads, mask, dropout))
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, H, T, D/H)
        q = q[:, :, :first]
        if avoid_fused and not torch.is_grad_enabled():
            return self.out(attend_bfloat16(q, k, v, mask))
        keys = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, T)
        if bias is not None:
            bias = bias[:, :, :first].to(q.dtype)
            keys = bias if keys is None else bias.masked_fill(~keys, -torch.inf)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=keys, dropout_p=dropout)
        return self.out(y.transpose(1, 2).flatten(2))  # (B, T, D)
