"""Length masks. One polarity everywhere: True = real.

Legend: B batch, T frames.
"""

from __future__ import annotations

import torch
from torch import Tensor


def lengths_to_mask(lengths: Tensor, size: int) -> Tensor:
    """(B,) lengths -> (B, size) mask, True on the first `lengths[b]` positions of row b.

    lengths [3, 1], size 4  ->  1 1 1 0
                                1 0 0 0
    """
    return torch.arange(size, device=lengths.device) < lengths[:, None]  # (B, T)


def zero_padding(x: Tensor, mask: Tensor | None) -> Tensor:
    """Set x (..., B, T, D) to zero where mask (B, T) is False. A mask of None means that there is no padding."""
    return x if mask is None else torch.where(mask[..., None], x, x.new_zeros(()))
