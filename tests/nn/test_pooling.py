"""Pooling statistics of parts of a clip add up to the statistics of the whole clip."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import AudioError
from zoo.nn.pooling import POOLINGS, PoolingStats


@given(cuts=st.lists(st.integers(1, 40), min_size=1, max_size=6), seed=st.integers(0, 1000))
def test_sum_of_parts_is_the_whole(cuts: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, sum(cuts), 5, generator=generator) + 100  # a large mean must not spoil the deviation
    total = PoolingStats.empty(2, 5)
    parts = list(enumerate(x.split(cuts, dim=1)))
    for i, part in reversed(parts):  # any order: `start` marks the part with the first frame
        total.add_(part, start=i == 0)
    for pooling in POOLINGS:
        torch.testing.assert_close(total.pool(pooling), PoolingStats.of(x).pool(pooling), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(total.pool("stats")[..., 5:], x.std(1, correction=0), atol=1e-4, rtol=1e-4)


def test_lengths_hide_padding() -> None:
    x = torch.randn(3, 9, 4)
    lengths = torch.tensor([9, 4, 1])
    poisoned = x.clone()
    poisoned[1, 4:], poisoned[2, 1:] = float("nan"), float("inf")
    for pooling in POOLINGS:
        pooled = PoolingStats.of(poisoned, lengths).pool(pooling)
        for b, n in enumerate(lengths.tolist()):
            torch.testing.assert_close(pooled[b], PoolingStats.of(x[b, :n]).pool(pooling))


def test_statistics_do_not_keep_frames_in_memory() -> None:
    """Views of the windows would keep a whole recording in memory."""
    stats = PoolingStats.empty(2, 8)
    stats.add_(torch.randn(2, 100, 8), start=True)
    for field in (stats.total, stats.squares, stats.peak, stats.first):
        assert field.untyped_storage().nbytes() <= 2 * 8 * 8


def test_a_clip_without_frames_is_refused() -> None:
    with pytest.raises(AudioError, match=r"waveform 1: has no frame to pool: .* min_samples"):
        PoolingStats.of(torch.randn(2, 3, 9, 4), torch.tensor([9, 0]))
