"""The k largest inner products, exact, with torch or faiss.

Legend: N rows, Q queries, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Values in one block of rows or scores: enough to keep the cores busy, and 16 MB for an index of any size.
BLOCK = 1 << 22
QUERIES = 256


def nearest(vectors: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best rows for each query: scores (Q, k) in descending order, rows (Q, k).

    vectors: (N, D) in any float format. queries: (Q, D) float32. k: 1 to N.
    """
    parts = [_nearest(vectors, part, k) for part in queries.split(QUERIES)]
    return torch.cat([scores for scores, _ in parts]), torch.cat([rows for _, rows in parts])


def _nearest(vectors: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Block by block, so that a float32 copy of all vectors and the scores of all rows are never in memory."""
    count = max(1, BLOCK // max(queries.shape))
    best = queries.new_zeros(len(queries), 0)
    rows = torch.zeros(len(queries), 0, dtype=torch.long)
    for start in range(0, len(vectors), count):
        scores = queries @ vectors[start : start + count].float().T  # (Q, count)
        top, indices = scores.topk(min(k, scores.shape[1]))
        best, rows = torch.cat([best, top], 1), torch.cat([rows, indices + start], 1)  # (Q, up to 2 k)
        best, order = best.topk(min(k, best.shape[1]))
        rows = rows.gather(1, order)  # (Q, k)
    return best, rows


class Flat:
    """A faiss IndexFlatIP over a copy of the vectors (N, D); called like `nearest`, with the same results."""

    def __init__(self, faiss: Any, vectors: Tensor) -> None:
        self.index = faiss.IndexFlatIP(vectors.shape[1])
        self.index.add(vectors.float().contiguous().numpy())

    def __call__(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        scores, rows = self.index.search(queries.contiguous().numpy(), k)
        return torch.from_numpy(scores), torch.from_numpy(rows)
