"""Copies to a GPU that do not make Python wait, and copies from it that wait once."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """x on `device`. A GPU copies from pinned memory while Python goes on."""
    if device.type == "cuda" and x.device.type == "cpu":
        x = x.pin_memory()
    return x.to(device, non_blocking=True)


def to_cpu_together(integers: Tensor, floats: Tensor) -> tuple[Tensor, Tensor]:
    """int64 and float32 tensors of one shape, on the CPU, in one copy. float64 holds both exactly, up to 2**53."""
    together = torch.stack([integers.double(), floats.double()]).cpu()
    return together[0].long(), together[1].float()
