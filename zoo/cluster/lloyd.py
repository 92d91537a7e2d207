"""k-means of rows in memory: k-means++ on a sample, then Lloyd iterations on nested, growing samples.

    rows, shuffled   |--|                    k-means++, then iterate until the inertia of the sample converges
                     |------|                four times as many rows, from the last centroids
                     |---------------------| all rows, until convergence

Early iterations need only enough rows to move the centroids in the right direction (Newling & Fleuret 2016, "Nested
mini-batch k-means"). This saves most of the work of full-batch Lloyd, and the last iterations still use all rows.

Legend: N rows, D width, K centroids, C candidates.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.cluster.nearest import cluster_sums, means, nearest
from zoo.errors import ConfigError

ITERATIONS = 100
TOLERANCE = 3e-4
_SEED_ROWS = 50  # for each centroid, in the first sample
_MIN_ROWS = 10_000
_GROWTH = 4
_COARSE_TOLERANCE = 2e-3  # relative gain in inertia at which iterations on a sample stop


def solve(x: Tensor, k: int, generator: torch.Generator, *, iterations: int, tolerance: float) -> Tensor:
    """Centroids (K, D) float32 of x (N, D). Raises ConfigError for fewer rows than K.

    iterations: maximum number on each sample. tolerance: relative gain in inertia at which they stop.
    """
    if len(x) < k:
        raise ConfigError(f"{len(x)} rows cannot make {k} clusters; give more, or a smaller k")
    order = torch.randperm(len(x), generator=generator)
    size = max(_MIN_ROWS, _SEED_ROWS * k)
    centroids: Tensor | None = None
    while size * 2 < len(x):
        sample = x[order[:size].to(x.device)].float()
        if centroids is None:
            centroids = plus_plus(sample, k, generator)
        centroids = lloyd(sample, centroids, iterations, max(tolerance, _COARSE_TOLERANCE))
        size *= _GROWTH
    if centroids is None:
        centroids = plus_plus(x.float(), k, generator)
    return lloyd(x, centroids, iterations, tolerance)


def plus_plus(x: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Initial centroids by greedy k-means++ (Arthur & Vassilvitskii 2007). x (N, D) -> (K, D).

    Each centroid is a row, drawn with probability proportional to the squared distance from the earlier centroids. The
    best of 2 + ln K draws is used.
    """
    trials = 2 + int(math.log(k))
    rows, x = x, x - x.mean(0)  # centered, for the precision of the distances
    squares = x.square().sum(1)  # (N,)
    chosen = [int(torch.randint(len(x), (1,), generator=generator))]
    closest = (x - x[chosen[0]]).square().sum(1)  # (N,)
    for _ in range(k - 1):
        total = closest.double().cumsum(0)
        draws = torch.rand(trials, generator=generator, dtype=torch.float64).to(x.device) * total[-1]
        candidates = torch.searchsorted(total, draws, right=True).clamp_(max=len(x) - 1)  # (C,)
        points = x[candidates]
        distances = torch.addmm(points.square().sum(1)[:, None] + squares, points, x.T, alpha=-2).clamp_(min=0)
        distances = torch.minimum(distances, closest)  # (C, N)
        best = int(distances.sum(1, dtype=torch.float64).argmin())
        chosen.append(int(candidates[best]))
        closest = distances[best]
        closest[chosen[-1]] = 0
    return rows[chosen]


def lloyd(x: Tensor, centroids: Tensor, iterations: int, tolerance: float) -> Tensor:
    """Lloyd iterations from `centroids` (K, D), until the relative gain in inertia is at most `tolerance`.

    Raises ConfigError if float32 cannot hold the squared distances.
    """
    previous = math.inf
    for _ in range(iterations):
        labels, distances = nearest(x, centroids)
        inertia = float(distances.sum(dtype=torch.float64))
        if not math.isfinite(inertia):
            largest = float(x.abs().max())
            raise ConfigError(f"features up to {largest:.2g}: their squares overflow float32; scale the features")
        sums, counts = cluster_sums(x, labels, len(centroids))
        centroids = means(sums, counts, centroids)
        empty = (counts == 0).nonzero()[:, 0]
        if len(empty) and inertia > 0:
            centroids[empty] = x[distances.topk(len(empty)).indices].float()
        elif previous - inertia <= tolerance * inertia:
            break
        previous = inertia
    return centroids
