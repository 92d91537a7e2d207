"""The two steps of a Lloyd iteration: find the nearest centroid of each row, and sum the rows of each cluster.

Legend: N rows, D width, K centroids.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import ConfigError
from zoo.nn.kernels.linear import fast_linear

_ROWS = 4096  # the scores of this many rows fit into the cache of a core
_SUM_ROWS = 1 << 16  # rows summed in float32 before the sum is added in float64


class Nearest(NamedTuple):
    """labels (N,) int64; distances (N,) float32, squared Euclidean."""

    labels: Tensor
    distances: Tensor


def nearest(x: Tensor, centroids: Tensor) -> Nearest:
    """The nearest of the centroids (K, D) for each row of x (N, D), on any device. Ties go to the first centroid.

    argmin |x - c|^2 = argmax x.c - |c|^2 / 2. The mean of the centroids is subtracted from both first. Otherwise, far
    from the origin, rounding errors would dominate the difference of two large numbers.

    Raises ConfigError if the widths differ.
    """
    if x.shape[1] != centroids.shape[1]:
        raise ConfigError(f"rows of {x.shape[1]} features, but the centroids have {centroids.shape[1]}")
    centroids = centroids.to(x.device)
    shift = centroids.double().mean(0).float()  # (D,)
    weight = (centroids.double() - shift).float()  # (K, D)
    bias = weight.square().sum(1) / -2  # (K,)
    labels = torch.empty(len(x), dtype=torch.int64, device=x.device)
    distances = torch.empty(len(x), device=x.device)
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        near = x[rows].float() - shift
        best, labels[rows] = fast_linear(near, weight, bias).max(1)
        distances[rows] = near.square().sum(1).sub_(best, alpha=2).clamp_(min=0)
    return Nearest(labels, distances)


def cluster_sums(x: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Sum (K, D) float64 and number (K,) int64 of each cluster's rows; the same bytes for any number of threads."""
    sums = torch.zeros(k, x.shape[1], dtype=torch.float64, device=x.device)
    counts = torch.zeros(k, dtype=torch.int64, device=x.device)
    for start in range(0, len(x), _SUM_ROWS):
        part, ids = x[start : start + _SUM_ROWS].float(), labels[start : start + _SUM_ROWS]
        order = ids.argsort(stable=True)
        count = torch.bincount(ids, minlength=k)
        sums += F.embedding_bag(order, part, count.cumsum(0) - count, mode="sum")  # each cluster's rows are one bag
        counts += count
    return sums, counts


def means(sums: Tensor, counts: Tensor, previous: Tensor) -> Tensor:
    """sums (K, D) / counts (K,), float32. An empty cluster keeps its `previous` centroid."""
    updated = (sums / counts.clamp(min=1)[:, None]).float()
    return torch.where(counts[:, None] > 0, updated, previous)
