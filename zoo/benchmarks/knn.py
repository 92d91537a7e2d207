"""k nearest neighbors by cosine, as X-ARES evaluates features (arXiv 2505.16369; xares 0.1.3, trainer.py).

The `neighbors` most similar training clips vote for their class, with the weights softmax(similarity / temperature).

scale: clips     training features have length 1 by clip: the similarity is the cosine
       features  training features have length 1 by column, as in the code of xares 0.1.3, which normalizes the
                 transposed matrix along its other axis. Use it to compare with published scores of X-ARES.

Legend: N items, D features, K neighbors, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from zoo.benchmarks.choice import Predict, best_on_dev
from zoo.benchmarks.probe import ProbeConfig, ProbeResult, Split


def nearest_neighbors(
    train: Split,
    dev: Split,
    test: Split,
    layers: Sequence[int],
    config: ProbeConfig,
    *,
    neighbors: int = 10,
    temperature: float = 0.07,
    scale: str = "clips",
) -> ProbeResult:
    """Predictions (1, N) for test, with the layer that is best on dev."""
    targets = torch.from_numpy(train.targets)

    def fit(features: Tensor) -> Predict:
        def predict(items: Tensor) -> np.ndarray:
            return votes(features, targets, items, neighbors, temperature, scale).argmax(1).numpy()[None]

        return predict

    return best_on_dev(train, dev, test, layers, config.metric, fit)


def votes(
    train: Tensor, targets: Tensor, items: Tensor, neighbors: int = 10, temperature: float = 0.07, scale: str = "clips"
) -> Tensor:
    """Votes for each class (N, C), with sum 1. train (M, D) and items (N, D): features; targets (M,): class indices."""
    known = normalize(train, dim=1 if scale == "clips" else 0)
    similarity = normalize(items, dim=1) @ known.T  # (N, M)
    closest, rows = similarity.topk(min(neighbors, len(train)))  # (N, K) each
    weights = (closest / temperature).softmax(1)
    return (one_hot(targets[rows]) * weights[..., None]).sum(1)
