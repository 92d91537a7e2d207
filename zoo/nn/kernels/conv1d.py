"""1-D convolutions in channels-last layout, with gradients computed by plain matrix products.

oneDNN's forward convolution is fast, but its fp32 gradients of a strided convolution with few taps run at a tenth of
that speed. With stride s, the taps j s ... (j + 1) s - 1 of consecutive outputs read consecutive parts of the input
that do not overlap: together they are a matrix, and it needs no copy. So each such group of taps needs one matrix
product for its own gradient, and one for the gradient of the input.

Legend: B batch, T frames, T' frames of the output, C channels, C' of the output, k taps, s stride.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from zoo.nn.kernels.linear import fast_linear
from zoo.nn.kernels.switch import use_kernels
from zoo.nn.safe_conv import conv2d


def channels_last(weight: Tensor) -> Tensor:
    """(C', C, k) taps of a 1-D convolution -> (C', C, 1, k), the layout that `conv_channels_last` needs."""
    return weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)


def conv_channels_last(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """x (B, T, C), weight (C', C, 1, k) -> (B, T', C'); several times faster than a plain conv1d on CPUs."""
    if not use_kernels(x) or not torch.is_grad_enabled():
        return _convolve(x, weight, bias, stride)
    if torch.is_autocast_enabled("cpu"):  # autocast does not cast the arguments of custom functions
        dtype = torch.get_autocast_dtype("cpu")
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    return _Convolve.apply(x, weight, bias, stride)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    y = conv2d(x.transpose(1, 2).unsqueeze(2), weight, bias, (1, stride))  # (B, C', 1, T')
    return y.squeeze(2).transpose(1, 2)


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return _convolve(x, weight, bias, stride)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        (x, weight), grad = ctx.saved_tensors, grads[0].contiguous()
        taps = weight.squeeze(2).transpose(1, 2)  # (C', k, C), contiguous
        for_x, for_weight, for_bias, _ = ctx.needs_input_grad
        return (
            _grad_of_input(x.shape, taps, grad, ctx.stride) if for_x else None,
            _grad_of_taps(x, taps.shape, grad, ctx.stride).transpose(1, 2).unsqueeze(2) if for_weight else None,
            grad.sum((0, 1)) if for_bias else None,
            None,
        )


def _groups(x: Tensor, taps: int, stride: int, count: int) -> Iterator[tuple[slice, Tensor]]:
    """Groups of at most `stride` taps, each with a view (count, taps C) of the part of x (T, C) that it reads.

    x must be contiguous.
    """
    for first in range(0, taps, stride):
        last = min(first + stride, taps)
        width = x.shape[1]
        shape, strides = (count, (last - first) * width), (stride * width, 1)
        yield slice(first, last), x.as_strided(shape, strides, x.storage_offset() + first * width)


def _grad_of_input(shape: torch.Size, taps: Tensor, grad: Tensor, stride: int) -> Tensor:
    """taps (C', k, C), grad (B, T', C') -> (B, T, C)."""
    result = grad.new_zeros(shape)
    for dx, dy in zip(result, grad, strict=True):
        for group, part in _groups(dx, taps.shape[1], stride, len(dy)):
            part.add_(fast_linear(dy, taps[:, group].flatten(1).t()))
    return result


def _grad_of_taps(x: Tensor, shape: torch.Size, grad: Tensor, stride: int) -> Tensor:
    """x (B, T, C), grad (B, T', C') -> (C', k, C)."""
    result = torch.zeros(shape, dtype=torch.float32 if x.dtype == torch.bfloat16 else x.dtype)
    for clip, dy in zip(x, grad, strict=True):
        for group, part in _groups(clip, shape[1], stride, len(dy)):
            result[:, group] += fast_linear(dy.t(), part.t()).unflatten(1, (-1, shape[2]))
    return result.to(x.dtype)
