"""Plans: a pure function of settings and items, whatever the task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from zoo.jobs.plan import MIN_SECONDS, Limits, Plan, read_plan, write_plan
from zoo.jobs.survey import Planned

LIMITS = Limits(items=5, seconds=3600.0, batch_seconds=60.0)


def plan_of(seconds: list[float], limits: Limits = LIMITS, **settings: object) -> Plan:
    items = tuple(
        Planned(f"{i}.wav", None, None, 1, 2, abs(length), "broken" if length < 0 else None)
        for i, length in enumerate(seconds)
    )
    return Plan("embed", {"model": "m", **settings}, limits, ".parquet", items, "/")


lengths = st.lists(st.floats(-10, 4000, allow_nan=False), max_size=60)


@given(lengths, st.integers(1, 20), st.sampled_from([(4e4, 0.0), (0.0, 10.0)]))
def test_shards_are_consecutive_and_within_the_limits(
    seconds: list[float], max_items: int, sizes: tuple[float, float]
) -> None:
    limits = Limits(max_items, 3600.0, 60.0, 1e5, *sizes)
    plan = plan_of(seconds, limits)
    shards = plan.shards()
    assert [n for shard in shards for n in range(shard.start, shard.stop)] == list(range(len(seconds)))
    assert [shard.number for shard in shards] == list(range(len(shards)))
    for shard in shards:
        inside = plan.items[shard.start : shard.stop]
        assert 1 <= len(inside) <= max_items
        if len(inside) > 1:
            assert sum(item.seconds for item in inside) <= 3600.0
            assert sum(sizes[0] + sizes[1] * item.seconds for item in inside) <= 1e5 * (1 + 1e-9)


@given(lengths, st.one_of(st.none(), st.floats(0.5, 5000)))
def test_batches_hold_every_readable_item_once_within_the_limit(seconds: list[float], limit: float | None) -> None:
    plan = plan_of(seconds, Limits(30, 3600.0, limit))
    for shard in plan.shards():
        batches = list(plan.batches(shard))
        readable = [n for n in range(shard.start, shard.stop) if plan.items[n].reason is None]
        assert sorted(n for batch in batches for n in batch) == readable
        assert limit is not None or len(batches) <= 1
        for batch in batches:
            longest = max(plan.items[n].seconds for n in batch)
            assert limit is None or len(batch) == 1 or len(batch) * max(longest, MIN_SECONDS) <= limit * (1 + 1e-9)
        order = [plan.items[n].seconds for batch in batches for n in batch]
        assert order == sorted(order, reverse=True)


def test_the_key_of_a_shard_depends_on_settings_and_items_only() -> None:
    seconds = [1.0] * 12
    before = [shard.key for shard in plan_of(seconds).shards()]
    assert before == [shard.key for shard in plan_of(seconds).shards()]
    assert len(set(before)) == 3
    touched = plan_of(seconds)
    items = list(touched.items)
    items[7] = replace(items[7], mtime_ns=3)
    after = [shard.key for shard in replace(touched, items=tuple(items)).shards()]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]
    pruned = [shard.key for shard in replace(touched, removed=frozenset([0])).shards()]
    assert [a == b for a, b in zip(before, pruned, strict=True)] == [False, True, True]
    assert not set(before) & {shard.key for shard in plan_of(seconds, layers=[1]).shards()}
    assert not set(before) & {shard.key for shard in replace(touched, task="units").shards()}


def test_a_grown_plan_keeps_its_shards() -> None:
    before = plan_of([1.0] * 7).shards()
    grown = replace(plan_of([1.0] * 13), grown=(7, 8)).shards()
    assert grown[:2] == before
    assert [(shard.start, shard.stop) for shard in grown[2:]] == [(7, 8), (8, 13)]


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    plan = plan_of([1.0, -2.0, 3.5], layers=[0, 3])
    labeled = replace(plan, labels=(("a", None), ("b", 1), ("c", 2)), grown=(2,), removed=frozenset([1]))
    for number, one in enumerate((plan, labeled)):
        write_plan(tmp_path / str(number), one)
        assert read_plan(tmp_path / str(number)) == one
    assert read_plan(tmp_path / "nothing") is None
