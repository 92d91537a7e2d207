"""Linear layers that are fast on ordinary CPUs.

PyTorch hands fp32 matrix products to MKL, which on many processors reaches less than half of what oneDNN reaches from a
weight packed into its blocked layout; in bfloat16 it brings the weight into that layout anew for every product, which
costs most where rows are few. `Product` keeps a packed copy for inference, and trains in fp32 by oneDNN's products;
`Int8Linear` multiplies in int8.

Legend: (..., I) inputs, (..., O) outputs, M rows = product of the leading dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from zoo.nn.derived import Derived

# Present in every PyTorch since 2.0 with oneDNN; inductor freezes CPU graphs with the same operators.
_PACKED: set[torch.dtype] = set()
if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
    _PACKED = {torch.float32}
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        _PACKED.add(torch.bfloat16)
_TYPICAL_ROWS = 2048  # the packed layout is chosen for products of about this many rows


def product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a (..., I), b (O, I), bias (O,) on the CPU -> a b^T + bias (..., O), without a gradient; either may be a view."""
    if a.dtype == b.dtype == torch.float32 and torch.float32 in _PACKED:
        return torch.ops.mkldnn._linear_pointwise(_dense(a), _dense(b), bias, "none", [], "")
    return F.linear(a, b, bias)


def _dense(x: Tensor) -> Tensor:
    """x without gaps between its rows or its columns: for matrices with gaps oneDNN has no fast kernel."""
    return x if x.is_contiguous() or x.transpose(0, -1).is_contiguous() else x.contiguous()


class _Train(torch.autograd.Function):
    """`product` with its gradients, in the form that torch.func can transform too."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return product(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), grad = ctx.saved_tensors, grads[0].flatten(0, -2)  # (M, O)
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            product(grad, weight.t()).view(x.shape) if for_x else None,
            product(grad.t(), x.flatten(0, -2).t()) if for_weight else None,
            grad.sum(0) if for_bias else None,
        )


class Product:
    """x W^T + b; in inference on a CPU from a packed copy of the weight, which takes as much memory again.

    The copy follows the weight: steps of any optimizer, in-place updates, load_state_dict and reassignment renew it;
    what is written to `weight.data` outside of training does not. `to` and its kin swap a parameter's data without a
    new version: the `_apply` of the module that owns the weight must replace its Product.
    """

    def __init__(self) -> None:
        self._packed: Derived[Tensor] = Derived()

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """x (..., I), weight (O, I), bias (O,) -> (..., O)."""
        on_cpu = x.device.type == weight.device.type == "cpu" and x.dtype == weight.dtype
        if not on_cpu or weight.dtype not in _PACKED or weight.is_inference():
            return F.linear(x, weight, bias)
        if not torch.is_grad_enabled():
            packed = self._packed.get((weight,), lambda: _pack(weight))
            return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
        self._packed.forget()  # a fused optimizer changes weights without a new version
        if weight.dtype == torch.float32 and x.dim() > 1 and x.numel() and not torch.is_autocast_enabled("cpu"):
            return _Train.apply(x, weight, bias)
        return F.linear(x, weight, bias)


def _pack(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _TYPICAL_ROWS)


class Linear(nn.Linear):
    """nn.Linear, with the `Product` above."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self._product = Product()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Linear:
        self._product = Product()
        return super()._apply(fn, recurse)

    def forward(self, x: Tensor) -> Tensor:
        return self._product(x, self.weight, self.bias)


class Int8Linear(nn.Module):
    """y = x W^T + b with both factors in int8 and one scale per row of x and per output: |x_m| W_o scales.

    Scales of x are dynamic and per row, so a frame's result depends on that frame alone and never on its batch.
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
        # A step that bfloat16 rounds down takes the largest value to 128, which int8 would turn into -128.
        quantized = (rows / step).round_().clamp_(-127, 127).to(torch.int8)
        product = torch._int_mm(quantized, self.weight.t())  # int32 (M, O)
        y = product.to(x.dtype).mul_(step).mul_(self.scale)
        if self.bias is not None:
            y.add_(self.bias)
        return y.view(*x.shape[:-1], -1)


def quantize_linears(module: nn.Module) -> None:
    """Replace every Linear below `module` by its int8 form, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear.from_linear(child))
        else:
            quantize_linears(child)
