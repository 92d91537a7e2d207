"""Measures of representation collapse.

Legend: N vectors, D width.
"""

from __future__ import annotations

from torch import Tensor


def effective_rank(x: Tensor) -> float:
    """exp of the entropy of the singular values of x (N, D), as shares of their sum (RankMe, arXiv 2210.02885).

    1: all vectors are on one line; min(N, D): the variance is equal in all directions.
    """
    values = (x.double() - x.double().mean(0)).svd(compute_uv=False).S
    shares = values / values.sum().clamp(min=1e-12)
    return float((-(shares * shares.clamp(min=1e-12).log()).sum()).exp())
