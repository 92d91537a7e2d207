"""Batches are a pure function of (seed, epoch), contain every item once and respect their limits."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.data.sampler import BatchSampler, Cursor
from zoo.errors import ConfigError
from zoo.io.seeds import mix

lengths = st.lists(st.floats(0.1, 30), min_size=1, max_size=60)


@given(lengths, st.floats(1, 60), st.integers(0, 5), st.integers(0, 3), st.integers(1, 9), st.booleans())
def test_every_item_once_within_the_limits(
    seconds: list[float], bound: float, seed: int, epoch: int, max_items: int, shuffle: bool
) -> None:
    plan = BatchSampler(seconds, bound, seed=seed, max_items=max_items, shuffle=shuffle).plan(epoch)
    assert sorted(i for batch in plan for i in batch) == list(range(len(seconds)))
    for batch in plan:
        assert len(batch) <= max_items
        assert len(batch) == 1 or len(batch) * max(seconds[i] for i in batch) <= bound + 1e-9


@given(lengths, st.integers(0, 5), st.integers(0, 12))
def test_a_stream_can_be_resumed_at_any_position(seconds: list[float], seed: int, start: int) -> None:
    long = list(islice(BatchSampler(seconds, 20, seed=seed).stream(Cursor()), start + 8))
    fresh = BatchSampler(seconds, 20, seed=seed)
    fresh.plan(7)
    assert list(islice(fresh.stream(long[start][0]), 8)) == long[start:]


@given(st.integers(0, 3))
def test_the_position_after_an_epoch_is_the_next_epoch(seed: int) -> None:
    sampler = BatchSampler([1.0] * 5, 2, seed=seed)
    cursor, batch = next(sampler.stream(Cursor(0, len(sampler.plan(0)))))
    assert cursor == Cursor(1, 0) and batch == sampler.plan(1)[0]


def test_batches_have_other_items_in_other_epochs_and_with_other_seeds() -> None:
    seconds = list(np.linspace(1, 10, 40))
    plans = [BatchSampler(seconds, 30, seed=s).plan(e) for s, e in [(0, 0), (0, 1), (1, 0)]]
    batches = [{frozenset(batch) for batch in plan} for plan in plans]
    assert batches[0] != batches[1] and batches[0] != batches[2]


def test_there_is_little_padding() -> None:
    seconds = np.random.default_rng(0).uniform(1, 16, 2000)
    plan = BatchSampler(list(seconds), 90).plan(0)
    padded = sum(len(batch) * seconds[batch].max() for batch in plan)
    assert seconds.sum() / padded > 0.9


def test_unshuffled_batches_are_sorted_by_length_in_every_epoch() -> None:
    sampler = BatchSampler([3, 1, 2], 3, shuffle=False)
    assert sampler.plan(0) == sampler.plan(5) == [[1], [2], [0]]


@given(lengths, st.floats(1, 60), st.integers(0, 3), st.integers(1, 9))
def test_even_batches_differ_by_one_item_at_most(seconds: list[float], bound: float, epoch: int, limit: int) -> None:
    plan = BatchSampler(seconds, bound, max_items=limit, even=True).plan(epoch)
    assert sorted(i for batch in plan for i in batch) == list(range(len(seconds)))
    sizes = [len(batch) for batch in plan]
    assert max(sizes) - min(sizes) <= 1 and max(sizes) <= limit
    assert all(len(batch) == 1 or len(batch) * max(seconds[i] for i in batch) <= bound + 1e-9 for batch in plan)


def test_even_changes_nothing_if_the_batches_are_full() -> None:
    seconds = list(np.random.default_rng(0).uniform(5, 10, 240))
    plain, even = (BatchSampler(seconds, 1e4, max_items=8, even=even) for even in (False, True))
    assert plain.plan(1) == even.plan(1)
    plain, even = (BatchSampler(seconds[:-7], 1e4, max_items=8, even=even) for even in (False, True))
    assert sorted(map(len, plain.plan(1)))[0] == 1, "a small last batch"
    assert sorted(map(len, even.plan(1)))[:8] == [7] * 7 + [8] and len(even.plan(1)) == len(plain.plan(1))


def test_nothing_to_sample() -> None:
    for seconds, bound in [([], 10.0), ([1.0], 0.0)]:
        with pytest.raises(ConfigError, match="no batches"):
            BatchSampler(seconds, bound)


@given(st.integers(0, 2**62), st.integers(0, 2**62), st.integers(0, 2**62))
def test_mix_is_a_seed_and_depends_on_each(a: int, b: int, c: int) -> None:
    assert 0 <= mix(a, b) < 2**63
    assert b == c or mix(a, b) != mix(a, c)
    assert a == c or mix(a, b) != mix(c, b)
