"""2-D convolutions that are fast on ordinary CPUs.

In inference on a CPU, batch normalization is folded into the convolution before it, and activations stay channels-last.
With oneDNN, the convolution, the addition of a residual and the ReLU run as one operation on packed weights.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.nn.masking import lengths_to_mask
from zoo.nn.safe_conv import conv2d, is_one_column
from zoo.nn.weight_cache import WeightCache

# Available in every PyTorch since 2.1 with oneDNN; inductor uses the same operators to fuse CPU graphs.
_CAN_FUSE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_convolution_weight")


class ConvNorm(nn.Module):
    """relu(norm(conv(x)) + residual); residual and relu are optional. Padding keeps the size at stride 1.

    Training, gradients and GPUs use PyTorch's own operators. The folded weights are computed again after optimizer
    steps, updates of the running statistics, load_state_dict, `to` and writes to `.data` (see WeightCache).
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.stride, self.padding = stride, (kernel // 2, kernel // 2)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, self.padding, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self._folded: WeightCache[tuple[Tensor, Tensor]] = WeightCache()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ConvNorm:
        self._folded = WeightCache()
        return super()._apply(fn, recurse)

    def forward(
        self, x: Tensor, residual: Tensor | None = None, *, relu: bool = True, rows: Tensor | None = None
    ) -> Tensor:
        """x (B, C, H, W) -> (B, C', H', W'). The residual has the output's shape; inference overwrites it.

        rows (B,): number of real rows of H, default all; training computes its statistics over real rows only.
        """
        plain = self.training or torch.is_grad_enabled() or x.device.type != "cpu"
        if plain or self.conv.weight.is_inference():
            self._folded.clear()  # a fused optimizer changes weights without a new version
            y = self._normalize(self._convolve(x, self.conv.weight, None), rows)
            y = y if residual is None else y + residual
            return F.relu(y) if relu else y
        if _can_fuse(x) and not self._must_avoid(x):
            weight, bias = self._folded.get(self._sources(), lambda: self._pack(x))
            return self._fused(x, weight, bias, residual, relu)
        weight, bias = self._folded.get(self._sources(), self._fold)
        y = self._convolve(x, weight, bias)
        y = y if residual is None else y.add_(residual)
        return y.relu_() if relu else y

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return conv2d(x, weight, bias, self.stride, self.padding)

    def _must_avoid(self, x: Tensor) -> bool:
        """Whether the fused operator, which ignores autocast, may compute this wrongly (zoo.nn.safe_conv)."""
        reduced = x.dtype != torch.float32
        return reduced and is_one_column(x, self.conv.weight, self.stride, self.padding)

    def _normalize(self, y: Tensor, rows: Tensor | None) -> Tensor:
        """Batch normalization of y (B, C', H', W') with statistics over real rows; padding rows are normalized too."""
        norm = self.norm
        if rows is None or not self.training:
            return norm(y)
        assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
        real = lengths_to_mask(self.shrink(rows), y.shape[2], y.device)[:, None, :, None]  # (B, 1, H', 1)
        count = real.sum() * y.shape[3]
        mean = (y.float() * real).sum((0, 2, 3), keepdim=True) / count  # (1, C', 1, 1)
        centered = y.float() - mean
        variance = (centered.square() * real).sum((0, 2, 3), keepdim=True) / count
        unbiased = variance.detach() * count / (count - 1)
        norm.running_mean.lerp_(mean.detach().flatten(), norm.momentum or 0.0)
        norm.running_var.lerp_(unbiased.flatten(), norm.momentum or 0.0)
        norm.num_batches_tracked.add_(1)
        gain = (variance + norm.eps).rsqrt() * norm.weight[:, None, None]  # (1, C', 1, 1)
        return (centered * gain + norm.bias[:, None, None]).to(y.dtype)

    def shrink(self, rows: Tensor) -> Tensor:
        """Real rows of the input -> real rows of the output: rows with a real center."""
        return (rows - 1) // self.conv.stride[0] + 1

    def _sources(self) -> tuple[Tensor, ...]:
        """The tensors that the folded weights depend on.

        Training updates the statistics without a new version; only num_batches_tracked shows it.
        """
        norm = self.norm
        tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.num_batches_tracked)
        return (self.conv.weight, *(tensor for tensor in tensors if tensor is not None))

    def _fold(self) -> tuple[Tensor, Tensor]:
        """w gain, b - mean gain with gain = norm.weight / sqrt(variance + eps), computed in float32."""
        norm, weight = self.norm, self.conv.weight
        assert norm.running_mean is not None and norm.running_var is not None
        gain = norm.weight.float() * (norm.running_var.float() + norm.eps).rsqrt()  # (C',)
        bias = norm.bias.float() - norm.running_mean.float() * gain
        folded = (weight.float() * gain[:, None, None, None]).to(weight.dtype)
        return folded.contiguous(memory_format=torch.channels_last), bias.to(weight.dtype)

    def _pack(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias = self._fold()
        conv = self.conv
        packed = torch.ops.mkldnn._reorder_convolution_weight(
            weight, conv.padding, conv.stride, conv.dilation, conv.groups, x.shape
        )
        return packed, bias

    def _fused(self, x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None, relu: bool) -> Tensor:
        conv = self.conv
        geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        unary = "relu" if relu else "none"
        if residual is None:
            return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *geometry, unary, [], "")
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            residual, x, weight, bias, *geometry, "add", 1.0, unary if relu else None, [], None
        )


def _can_fuse(x: Tensor) -> bool:
    """Whether oneDNN can run a fused convolution of x on this machine."""
    if not _CAN_FUSE or x.device.type != "cpu":
        return False
    return x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
