"""Linear layers that are fast on ordinary CPUs.

PyTorch uses MKL for fp32 matrix products. On many processors MKL is less than half as fast as oneDNN with a weight
packed into its blocked layout. In bfloat16, PyTorch packs the weight again for every product, which is expensive if
there are few rows. `PackedLinear` caches a packed copy for inference, and trains in fp32 with oneDNN; `Int8Linear`
multiplies in int8.

Legend: (..., I) inputs, (..., O) outputs, M rows = product of the leading dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from zoo.nn.weight_cache import WeightCache

# Available in every PyTorch since 2.0 with oneDNN; inductor uses the same operators when it freezes CPU graphs.
_PACKED: set[torch.dtype] = set()
if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
    _PACKED = {torch.float32}
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        _PACKED.add(torch.bfloat16)
_TYPICAL_ROWS = 2048  # oneDNN chooses the packed layout for about this many rows


def fast_linear(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a (..., I), b (O, I), bias (O,) on the CPU -> a b^T + bias (..., O), without a gradient; a and b may be views."""
    if a.dtype == b.dtype == torch.float32 and torch.float32 in _PACKED:
        return torch.ops.mkldnn._linear_pointwise(_dense(a), _dense(b), bias, "none", [], "")
    return F.linear(a, b, bias)


def _dense(x: Tensor) -> Tensor:
    """x without gaps between its rows or columns: oneDNN is slow for matrices with gaps."""
    return x if x.is_contiguous() or x.transpose(0, -1).is_contiguous() else x.contiguous()


class _Train(torch.autograd.Function):
    """`fast_linear` with gradients; torch.func can transform it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return fast_linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), grad = ctx.saved_tensors, grads[0].flatten(0, -2)  # (M, O)
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            fast_linear(grad, weight.t()).view(x.shape) if for_x else None,
            fast_linear(grad.t(), x.flatten(0, -2).t()) if for_weight else None,
            grad.sum(0) if for_bias else None,
        )


class PackedLinear:
    """x W^T + b. Inference on a CPU uses a packed copy of the weight, which doubles the memory of the weight.

    The copy is made again after optimizer steps, in-place updates, load_state_dict, reassignment of the weight and
    writes to `weight.data` (see WeightCache). The `_apply` of the module that owns the weight replaces its
    PackedLinear, so that no copy stays in memory when a model moves to a GPU.
    """

    def __init__(self) -> None:
        self._packed: WeightCache[Tensor] = WeightCache()

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """x (..., I), weight (O, I), bias (O,) -> (..., O)."""
        on_cpu = x.device.type == weight.device.type == "cpu" and x.dtype == weight.dtype
        if not on_cpu or weight.dtype not in _PACKED or weight.is_inference():
            return F.linear(x, weight, bias)
        if not torch.is_grad_enabled():
            packed = self._packed.get((weight,), lambda: _pack(weight))
            return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
        self._packed.clear()  # a fused optimizer changes weights without a new version
        if weight.dtype == torch.float32 and x.dim() > 1 and x.numel() and not torch.is_autocast_enabled("cpu"):
            return _Train.apply(x, weight, bias)
        return F.linear(x, weight, bias)


def _pack(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _TYPICAL_ROWS)


class Linear(nn.Linear):
    """nn.Linear, computed by `PackedLinear`."""

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
