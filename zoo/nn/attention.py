"""Self-attention over padded batches.

Legend: B batch, T frames, D width, H heads, Q queries computed at once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.nn.attend import attend
from zoo.nn.linear import Linear

SCORES = 1 << 22  # attention scores in memory at once: 8 MiB in bfloat16, so that they fit in the last-level cache


def attend_bfloat16(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(d)) v in bfloat16 on a CPU, clip by clip over real frames only.

    In bfloat16 on CPUs, PyTorch's fused kernel is two to three times slower than plain batched matrix products.

    q (B, H, T', d) of the first T' <= T frames, k, v (B, H, T, d), mask (B, T) True on the real frames, which come
    first -> (B, T', H d), zero on padding.
    """
    clips, heads, size, width = q.shape
    out = q.new_zeros(clips, size, heads, width)
    lengths = [k.shape[2]] * clips if mask is None else mask.sum(1).tolist()
    for b, n in enumerate(lengths):
        count = min(n, size)
        queries = q[b, :, :count] * width**-0.5  # (H, T', d)
        keys = k[b, :, :n].contiguous().transpose(1, 2)  # (H, d, n)
        values = v[b, :, :n].contiguous()
        step = max(32, SCORES // (heads * n))
        for start in range(0, count, step):
            scores = torch.bmm(queries[:, start : start + step], keys)  # (H, Q, n)
            torch.softmax(scores, -1, out=scores)
            out[b, start : min(start + step, count)] = torch.bmm(scores, values).transpose(0, 1)
    return out.flatten(2)


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
        avoid_fused = qkv.dtype == torch.bfloat16 and qkv.device.type == "cpu"  # PyTorch's fused kernel is slow here
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
