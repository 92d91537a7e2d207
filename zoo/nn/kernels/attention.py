"""Attention in bfloat16 on CPUs as plain batched matrix products, for inference and for training.

In bfloat16 on CPUs, PyTorch's fused kernel is two to three times slower than batched matrix products. In training,
forward and backward take a third to two thirds of its time here, but keep the attention weights (B H T^2) in memory.

Legend: B batch, T frames, D width, H heads, d = D / H, Q queries computed at once.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from zoo.nn.kernels.dropout import apply_bit_mask, draw_bit_mask, keep_probability

SCORES = 1 << 22  # attention scores in memory at once: 8 MiB in bfloat16, so that they fit in the last-level cache


def attend_bfloat16(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(d)) v in bfloat16 on a CPU, clip by clip over real frames only.

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


def attend(qkv: Tensor, heads: int, mask: Tensor | None, dropout: float = 0.0) -> Tensor:
    """dropout(softmax(q k^T / sqrt(d))) v. qkv (B, T, 3 D) side by side, mask (B, T) True = real -> (B, T, D)."""
    return _Attend.apply(qkv, heads, mask, dropout)


def _drop(weights: Tensor, bit_mask: Tensor | None) -> Tensor:
    return weights if bit_mask is None else apply_bit_mask(weights, bit_mask)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int, mask: Tensor | None, dropout: float) -> Tensor:
        clips, frames, _ = qkv.shape
        parts = qkv.view(clips, frames, 3, heads, -1).permute(2, 0, 3, 1, 4).contiguous()  # (3, B, H, T, d)
        q, k, v = parts.flatten(1, 2)  # (B H, T, d) each
        with torch.autocast(qkv.device.type, enabled=False):
            weights = torch.bmm(q * q.shape[-1] ** -0.5, k.transpose(1, 2))  # (B H, T, T)
            if mask is not None:
                weights.view(clips, heads, frames, frames).masked_fill_(~mask[:, None, None, :], -math.inf)
            torch.softmax(weights, -1, out=weights)
            bit_mask = draw_bit_mask(weights.shape, dropout) if dropout else None
            ctx.scale = 1 / keep_probability(dropout)  # applied to y and the gradient, which are smaller than weights
            y = torch.bmm(_drop(weights, bit_mask), v).mul_(ctx.scale)  # (B H, T, d)
        ctx.heads = heads
        ctx.save_for_backward(q, k, v, weights, bit_mask, y)
        return y.view(clips, heads, frames, -1).transpose(1, 2).reshape(clips, frames, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """With P the weights and G the gradient of y: dV = P^T G, dS = P (G V^T - sum(G y)), dQ = dS K, dK = dS^T Q."""
        q, k, v, weights, bit_mask, y = ctx.saved_tensors
        clips, frames, width = grads[0].shape
        g = grads[0].view(clips, frames, ctx.heads, -1).transpose(1, 2).reshape(y.shape)  # (B H, T, d)
        out = torch.empty(3, *y.shape, dtype=g.dtype, device=g.device)
        scaled = g * ctx.scale
        torch.bmm(_drop(weights, bit_mask).transpose(1, 2), scaled, out=out[2])
        scores = _drop(torch.bmm(scaled, v.transpose(1, 2)), bit_mask)  # (B H, T, T)
        scores.sub_((g * y).sum(-1, keepdim=True)).mul_(weights).mul_(q.shape[-1] ** -0.5)
        torch.bmm(scores, k, out=out[0])
        torch.bmm(scores.transpose(1, 2), q, out=out[1])
        parts = out.view(3, clips, ctx.heads, frames, -1).permute(1, 3, 0, 2, 4)  # (B, T, 3, H, d)
        return parts.reshape(clips, frames, 3 * width), None, None, None
