"""Convolution in reduced precision, kept away from shapes that some processors compute wrongly.

oneDNN 3.10 (in torch 2.11) on CPUs with AMX, in bfloat16 (pytorch#169688, PR#188426 describe the same fault of conv3d):

    output one column wide, stride along the width above 1, several rows    part of the output is never written
    grouped, channels of a group no multiple of 8                           relative errors of 1 and more

Both are avoided on every CPU, so that all CPUs run the same computation. Autocast counts as reduced precision.

Legend: B batch, C channels, C' channels of the output, G groups, H height, W width, h x w taps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[int, int]
GROUP_MULTIPLE = 8  # channels of a group that every kernel handles


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    groups: int = 1,
) -> Tensor:
    """As torch's conv2d: x (B, C, H, W), weight (C', C / G, h, w), bias (C',) -> (B, C', H', W')."""
    if not in_reduced_precision(x):
        return F.conv2d(x, weight, bias, stride, padding, groups=groups)
    if has_odd_groups(weight, groups):
        return _in_float32(x, weight, bias, stride, padding, groups)
    if is_one_column(x, weight, stride, padding):
        # All columns at stride 1, then every s-th of them, which is the first alone.
        every = F.conv2d(x, weight, bias, (stride[0], 1), padding, groups=groups)
        return every[..., :: stride[1]].contiguous(memory_format=torch.channels_last)
    return F.conv2d(x, weight, bias, stride, padding, groups=groups)


def in_reduced_precision(x: Tensor) -> bool:
    """Whether a convolution of x would run in fewer than 32 bits on a CPU."""
    if x.device.type != "cpu":
        return False
    return x.dtype in (torch.bfloat16, torch.float16) or torch.is_autocast_enabled("cpu")


def is_one_column(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> bool:
    """Whether the output is one column wide, by a stride above 1 along the width."""
    columns = (x.shape[3] + 2 * padding[1] - weight.shape[3]) // stride[1] + 1
    return stride[1] > 1 and columns == 1


def has_odd_groups(weight: Tensor, groups: int) -> bool:
    """Whether the groups of a grouped convolution have a number of channels that is no multiple of 8."""
    outputs = weight.shape[0] // groups
    inputs = weight.shape[1]
    return groups > 1 and (outputs % GROUP_MULTIPLE != 0 or inputs % GROUP_MULTIPLE != 0)


def _in_float32(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, groups: int) -> Tensor:
    """Computed in float32, given back in the precision that was meant."""
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    with torch.autocast("cpu", enabled=False):
        wide_bias = None if bias is None else bias.float()
        y = F.conv2d(x.float(), weight.float(), wide_bias, stride, padding, groups=groups)
    return y.to(dtype)
