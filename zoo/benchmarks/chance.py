"""Expected retrieval scores if N clips are ordered at random and g of them are right for a query.

P(rank <= k) = 1 - C(N - g, k) / C(N, k), where rank is the rank of the first right clip.
"""

from __future__ import annotations

import numpy as np


def retrieval(right: np.ndarray, count: int) -> dict[str, float]:
    """Expected scores of queries with `right` (N,) right clips each among `count`."""
    ranks = np.arange(1, count + 1)
    missed = np.ones((len(right), count + 1))  # P(rank > k), k = 0 ... N
    for k in range(count):
        missed[:, k + 1] = missed[:, k] * np.maximum(0, count - right - k) / (count - k)
    reached = 1 - missed.mean(0)  # P(rank <= k)
    harmonic = (1 / ranks).sum()
    precision = ((right - 1) / max(1, count - 1) * (count - harmonic) + harmonic) / count  # mean over the right clips
    return {f"R@{k}": float(reached[min(k, count)]) for k in (1, 5, 10)} | {
        "MRR": float((np.diff(reached) / ranks).sum()),
        "mAP": float(precision.mean()),
        "median rank": float(np.argmax(reached >= 0.5)),
    }
