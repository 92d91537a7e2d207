"""k-means of rows that are in memory: k-means++ on some of them, then Lloyd's iterations on nested, growing samples.

    rows, shuffled   |--|                    k-means++, iterate until the samples' inertia settles
                     |------|                four times as many, from where that ended
                     |---------------------| all, until nothing moves

Early iterations need no more rows than it takes to tell where the centroids go (Newling & Fleuret 2016, "Nested
mini-batch k-means"), so most of the work of full-batch Lloyd is saved and its result kept.

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
_COARSE_TOLERANCE = 2e-3  # relative gain in inertia below which a sample has taught what it can


def solve(x: Tensor, k: int, generator: torch.Generator, *, iterations: int, tolerance: float) -> Tensor:
    """Centroids (K, D) float32 of x (N, D). Raises ConfigError for fewer rows than K.

    iterations: at most so many on each sample; tolerance: the relative gain in inertia below which they end.
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
    """Greedy k-means++ (Arthur & Vassilvitskii 2007): each centroid is a row, drawn in proportion to its squared
    distance from those before, the best of 2 + ln K draws. x (N, D) -> (K, D).
    """
    trials = 2 + int(math.log(k))
    rows, x = x, x - x.mean(0)  # near the origin, where distances keep their digits
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
    """Lloyd's iterations from `centroids` (K, D) until the inertia falls by less than the share `tolerance`.

    Raises ConfigError where float32 cannot hold the squared distances.
    """
    before = math.inf
    for _ in range(iterations):
        labels, distances = nearest(x, centroids)
        inertia = float(distances.sum(dtype=torch.float64))
        if not math.isfinite(inertia):
            raise ConfigError(f"features up to {float(x.abs().max()):.2g}: their squares overflow float32; scale them")
        sums, counts = cluster_sums(x, labels, len(centroids))
        centroids = means(sums, counts, centroids)
        empty = (counts == 0).nonzero()[:, 0]
        if len(empty) and inertia > 0:
            centroids[empty] = x[distances.topk(len(empty)).indices].float()
        elif before - inertia <= tolerance * inertia:
            break
        before = inertia
    return centroids
