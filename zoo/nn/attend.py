"""Attention with gradients from plain batched products.

PyTorch's fused kernel multiplies bfloat16 on CPUs two to three times more slowly than batched products do; forward and
backward of a training step take a third to two thirds of its time here, at the price of keeping the weights (B H T^2).

Legend: B batch, T frames, D width, H heads, d = D / H.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from zoo.nn.dropout import draw_kept, keep, kept_share


def attend(qkv: Tensor, heads: int, mask: Tensor | None, dropout: float = 0.0) -> Tensor:
    """dropout(softmax(q k^T / sqrt(d))) v. qkv (B, T, 3 D) side by side, mask (B, T) True = real -> (B, T, D)."""
    return _Attend.apply(qkv, heads, mask, dropout)


def _kept(weights: Tensor, kept: Tensor | None) -> Tensor:
    return weights if kept is None else keep(weights, kept)


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
            kept = draw_kept(weights.shape, dropout) if dropout else None
            ctx.scale = 1 / kept_share(dropout)  # of what is kept; on v and its gradient, which are small
            y = torch.bmm(_kept(weights, kept), v).mul_(ctx.scale)  # (B H, T, d)
        ctx.heads = heads
        ctx.save_for_backward(q, k, v, weights, kept, y)
        return y.view(clips, heads, frames, -1).transpose(1, 2).reshape(clips, frames, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """With P the weights and G the gradient of y: dV = P^T G, dS = P (G V^T - sum(G y)), dQ = dS K, dK = dS^T Q."""
        q, k, v, weights, kept, y = ctx.saved_tensors
        clips, frames, width = grads[0].shape
        g = grads[0].view(clips, frames, ctx.heads, -1).transpose(1, 2).reshape(y.shape)  # (B H, T, d)
        out = torch.empty(3, *y.shape, dtype=g.dtype, device=g.device)
        scaled = g * ctx.scale
        torch.bmm(_kept(weights, kept).transpose(1, 2), scaled, out=out[2])
        scores = _kept(torch.bmm(scaled, v.transpose(1, 2)), kept)  # (B H, T, T)
        scores.sub_((g * y).sum(-1, keepdim=True)).mul_(weights).mul_(q.shape[-1] ** -0.5)
        torch.bmm(scores, k, out=out[0])
        torch.bmm(scores.transpose(1, 2), q, out=out[1])
        parts = out.view(3, clips, ctx.heads, frames, -1).permute(1, 3, 0, 2, 4)  # (B, T, 3, H, d)
        return parts.reshape(clips, frames, 3 * width), None, None, None
