"""The one activation of all our models."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def gelu(x: Tensor) -> Tensor:
    """Exact GELU of a tensor that the caller gives away: in place where no gradient needs x.

    A HuBERT front end makes 3,200 activations of each channel a second; filling new memory with them takes longer than
    the arithmetic.
    """
    return F.gelu(x) if torch.is_grad_enabled() else torch.ops.aten.gelu_(x)
