"""Which frames are masked: spans that depend on the clip's seed alone.

Legend: T frames.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zoo.recipes.hubert.config import MaskConfig


def span_mask(frames: int, seed: int, config: MaskConfig) -> Tensor:
    """(T,), True = masked: round(starts T) spans, the fraction decided by chance, that may overlap.

    Starts are drawn without replacement. A clip that has room for fewer spans than that gets as many as there are
    starts; one that is no longer than a span is masked but for its first frame.
    """
    generator = np.random.default_rng(seed)
    length = min(config.length, frames - 1)
    room = frames - length
    count = int(config.starts * frames + generator.random())
    count = min(max(count, config.least), room)
    starts = generator.choice(room, count, replace=False) + (1 if length < config.length else 0)
    mask = np.zeros(frames, dtype=bool)
    mask[np.minimum(starts[:, None] + np.arange(length), frames - 1)] = True
    return torch.from_numpy(mask)
