"""Which centroid is the nearest, and what the rows of each cluster add up to: the two halves of a Lloyd iteration.

Legend: N rows, D width, K centroids.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import ConfigError

# oneDNN's fp32 product is up to twice as fast as the one torch takes by itself (MKL), at the same precision.
_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
_ROWS = 4096  # scores of so many rows stay in the cache of a core
_SUM_ROWS = 1 << 16  # rows summed in float32 before the sum goes to float64


class Nearest(NamedTuple):
    """labels (N,) int64; distances (N,) float32, squared Euclidean."""

    labels: Tensor
    distances: Tensor


def nearest(x: Tensor, centroids: Tensor) -> Nearest:
    """The nearest of centroids (K, D) for each row of x (N, D), on any device; the first one where several are.

    argmin |x - c|^2 = argmax x.c - |c|^2 / 2. Both are taken relative to the centroids' mean first: far from the origin
    the difference of two large numbers would be all rounding.

    Raises ConfigError where the widths differ; rows of one number would be stretched to D otherwise.
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
        best, labels[rows] = _product(near, weight, bias).max(1)
        distances[rows] = near.square().sum(1).sub_(best, alpha=2).clamp_(min=0)
    return Nearest(labels, distances)


def cluster_sums(x: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Sum (K, D) float64 and number (K,) int64 of each cluster's rows; the same bytes on any number of threads."""
    sums = torch.zeros(k, x.shape[1], dtype=torch.float64, device=x.device)
    counts = torch.zeros(k, dtype=torch.int64, device=x.device)
    for start in range(0, len(x), _SUM_ROWS):
        part, ids = x[start : start + _SUM_ROWS].float(), labels[start : start + _SUM_ROWS]
        order = ids.argsort(stable=True)
        count = torch.bincount(ids, minlength=k)
        sums += F.embedding_bag(order, part, count.cumsum(0) - count, mode="sum")  # each cluster's rows are one bag
        counts += count
    return sums, counts


def means(sums: Tensor, counts: Tensor, before: Tensor) -> Tensor:
    """sums (K, D) / counts (K,), float32; an empty cluster stays where it was."""
    fresh = (sums / counts.clamp(min=1)[:, None]).float()
    return torch.where(counts[:, None] > 0, fresh, before)


def _product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (N, D), weight (K, D), bias (K,) -> (N, K)."""
    if _ONEDNN and x.device.type == "cpu":
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)
