"""Masks for HuBERT training: spans of frames, as a function of the clip's seed.

Legend: T frames.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zoo.recipes.hubert.config import MaskConfig


def span_mask(frames: int, seed: int, config: MaskConfig) -> Tensor:
    """A mask (T,), True = masked, of mask_prob * T spans, at least min_masks. Spans may overlap.

    The number of spans is rounded up or down at random. Their starts are drawn without replacement, so a short clip has
    at most one span for each possible start. A clip that is not longer than one span is masked except for its first
    frame.
    """
    generator = np.random.default_rng(seed)
    length = min(config.length, frames - 1)
    num_starts = frames - length
    count = int(config.mask_prob * frames + generator.random())
    count = min(max(count, config.min_masks), num_starts)
    starts = generator.choice(num_starts, count, replace=False) + (1 if length < config.length else 0)
    mask = np.zeros(frames, dtype=bool)
    mask[np.minimum(starts[:, None] + np.arange(length), frames - 1)] = True
    return torch.from_numpy(mask)
