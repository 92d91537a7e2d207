"""The one switch of all kernels in this folder."""

from __future__ import annotations

import os

import torch
from torch import Tensor

ENABLED = os.environ.get("ZOO_KERNELS", "1") != "0"


def use_kernels(x: Tensor) -> bool:
    """Whether x is computed by kernels for CPUs: not on other devices, in compiled graphs, or if they are off."""
    return ENABLED and x.device.type == "cpu" and not torch.compiler.is_compiling()
