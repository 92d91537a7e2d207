"""Convolution, addition of a residual and ReLU as one operation of oneDNN, on packed weights.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Available in every PyTorch since 2.1 with oneDNN; inductor uses the same operators to fuse CPU graphs.
_CAN_FUSE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_convolution_weight")


def can_fuse(x: Tensor) -> bool:
    """Whether oneDNN can run a fused convolution of x on this machine."""
    if not _CAN_FUSE:
        return False
    return x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack(conv: nn.Conv2d, weight: Tensor, bias: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """The weight in the layout that oneDNN chooses for inputs of this shape (B, C, H, W); and the bias."""
    packed = torch.ops.mkldnn._reorder_convolution_weight(
        weight, conv.padding, conv.stride, conv.dilation, conv.groups, shape
    )
    return packed, bias


def fused(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None, relu: bool) -> Tensor:
    """relu(conv(x) + residual) with a packed weight: x (B, C, H, W); the residual is overwritten."""
    geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
    unary = "relu" if relu else "none"
    if residual is None:
        return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *geometry, unary, [], "")
    return torch.ops.mkldnn._convolution_pointwise_.binary(
        residual, x, weight, bias, *geometry, "add", 1.0, unary if relu else None, [], None
    )
