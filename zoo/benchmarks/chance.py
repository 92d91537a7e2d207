"""What a random order of N clips gives, where g of them are right for a query.

P(rank <= k) = 1 - C(N - g, k) / C(N, k), the rank being that of the first right one.
"""

from __future__ import annotations

import numpy as np


def retrieval(right: np.ndarray, count: int) -> dict[str, float]:
    """Expected figures of queries with `right` (N,) right answers each among `count`."""
    places = np.arange(1, count + 1)
    missed = np.ones((len(right), count + 1))  # P(rank > k), k = 0 ... N
    for k in range(count):
        missed[:, k + 1] = missed[:, k] * np.maximum(0, count - right - k) / (count - k)
    reached = 1 - missed.mean(0)  # P(rank <= k)
    harmonic = (1 / places).sum()
    precision = ((right - 1) / max(1, count - 1) * (count - harmonic) + harmonic) / count  # of the right ones, mean
    return {f"R@{k}": float(reached[min(k, count)]) for k in (1, 5, 10)} | {
        "MRR": float((np.diff(reached) / places).sum()),
        "mAP": float(precision.mean()),
        "median rank": float(np.argmax(reached >= 0.5)),
    }
