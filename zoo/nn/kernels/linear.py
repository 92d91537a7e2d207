"""Matrix products of oneDNN.

PyTorch uses MKL for fp32 matrix products. On many processors MKL is less than half as fast as oneDNN with a weight
packed into its blocked layout. In bfloat16, PyTorch packs the weight again for every product, which is expensive if
there are few rows. `PackedLinear` caches a packed copy for inference, and trains in fp32 with oneDNN.

Legend: (..., I) inputs, (..., O) outputs, M rows = product of the leading dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from zoo.nn.kernels.switch import use_kernels
from zoo.nn.kernels.weight_cache import WeightCache

# Available in every PyTorch since 2.0 with oneDNN; inductor uses the same operators when it freezes CPU graphs.
_PACKED: set[torch.dtype] = set()
if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
    _PACKED = {torch.float32}
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        _PACKED.add(torch.bfloat16)
_TYPICAL_ROWS = 2048  # oneDNN chooses the packed layout for about this many rows


def fast_linear(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a (..., I), b (O, I), bias (O,) -> a b^T + bias (..., O), without a gradient; a and b may be views."""
    if a.dtype == b.dtype == torch.float32 and torch.float32 in _PACKED and use_kernels(a):
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
        if not use_kernels(x) or weight.is_inference() or weight.dtype not in _PACKED or weight.dtype != x.dtype:
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
