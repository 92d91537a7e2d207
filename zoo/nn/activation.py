"""The activation function of all our models."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def gelu(x: Tensor) -> Tensor:
    """Exact GELU. Without gradients it overwrites x, so the caller must not use x afterwards.

    A HuBERT front end computes 3,200 activations per channel and second; allocating new memory for them takes longer
    than the arithmetic.
    """
    return F.gelu(x) if torch.is_grad_enabled() else torch.ops.aten.gelu_(x)
