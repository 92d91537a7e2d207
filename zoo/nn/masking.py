"""Length masks. One polarity everywhere: True = real.

Lengths stay on the CPU. A GPU that had to tell them to Python would stand still meanwhile; a mask is copied to it.

Legend: B batch, T frames, D width, N selected frames.
"""

from __future__ import annotations

import torch
from torch import Tensor


def lengths_to_mask(lengths: Tensor, size: int, device: torch.device | None = None) -> Tensor:
    """(B,) lengths -> (B, size) mask on `device`, by default that of lengths; True on the first lengths[b] positions.

    lengths [3, 1], size 4  ->  1 1 1 0
                                1 0 0 0
    """
    mask = torch.arange(size, device=lengths.device) < lengths[:, None]  # (B, T)
    return mask.to(device or lengths.device, non_blocking=True)


def has_padding(lengths: Tensor, size: int) -> bool:
    """Whether any of lengths (B,) is below size. A compiled graph always assumes so: it must not read a value."""
    return torch.compiler.is_compiling() or int(lengths.min()) < size


def padding_mask(lengths: Tensor, x: Tensor) -> Tensor | None:
    """The mask (B, T) for x (B, T, ...), or None if no clip has padding."""
    size = x.shape[1]
    return lengths_to_mask(lengths, size, x.device) if has_padding(lengths, size) else None


def select_frames(x: Tensor, selected: Tensor) -> Tensor:
    """x (B, T, ...) -> (N, ...), the frames where selected (B, T), on the CPU, is True."""
    return x.flatten(0, 1)[index_of(selected, x.device)]


def index_of(selected: Tensor, device: torch.device) -> Tensor:
    """Where selected (B, T), on the CPU, is True: (N,) indices into its flattened positions, on `device`."""
    index = selected.flatten().nonzero()[:, 0]
    return index.to(device, non_blocking=True)


def zero_padding(x: Tensor, mask: Tensor | None) -> Tensor:
    """Set x (..., B, T, D) to zero where mask (B, T) is False. A mask of None means that there is no padding."""
    return x if mask is None else torch.where(mask[..., None], x, x.new_zeros(()))
