"""Linear layers, in the formats in which models compute.

Legend: (..., I) inputs, (..., O) outputs, M rows = product of the leading dimensions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.nn.kernels.linear import PackedLinear


class Linear(nn.Linear):
    """nn.Linear, on CPUs with a packed weight."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self._packed_linear = PackedLinear()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Linear:
        self._packed_linear = PackedLinear()
        return super()._apply(fn, recurse)

    def forward(self, x: Tensor) -> Tensor:
        return self._packed_linear(x, self.weight, self.bias)


class Int8Linear(nn.Module):
    """y = x W^T + b with x and W in int8, one scale per row of x and one per output (row of W).

    The scales of x are computed per row at run time, so the result of a frame does not depend on its batch.
    Inference only: there is no gradient.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)  # int8 (O, I)
        self.register_buffer("scale", scale)  # (O,)
        self.register_buffer("bias", bias)  # (O,)

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> Int8Linear:
        weight = linear.weight.detach()
        scale = weight.float().abs().amax(dim=1).clamp(min=1e-8) / 127  # (O,)
        rounded = (weight.float() / scale[:, None]).round_().to(torch.int8)
        bias = None if linear.bias is None else linear.bias.detach().clone()
        return cls(rounded, scale.to(weight.dtype), bias)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])  # (M, I)
        step = rows.abs().amax(dim=1, keepdim=True).clamp_(min=1e-8) / 127  # (M, 1)
        # If bfloat16 rounds the step down, the largest value becomes 128, and int8 would turn that into -128.
        quantized = (rows / step).round_().clamp_(-127, 127).to(torch.int8)
        sums = torch._int_mm(quantized, self.weight.t())  # int32 (M, O)
        y = sums.to(x.dtype).mul_(step).mul_(self.scale)
        if self.bias is not None:
            y.add_(self.bias)
        return y.view(*x.shape[:-1], -1)


def quantize_linears(module: nn.Module) -> None:
    """Replace every Linear inside `module` by an Int8Linear, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear.from_linear(child))
        else:
            quantize_linears(child)
