from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.embed import plan as planning
from zoo.embed.plan import Plan
from zoo.embed.settings import EmbedSettings
from zoo.encoder import Encoder
from zoo.errors import ConfigError
from zoo.jobs.survey import Planned

SETTINGS = EmbedSettings(
    *("m", "0123456789abcdef", {}, (0,), "mean", 8, 50.0, "float32", "float32", "cpu", 60.0, 5, "0")
)


def plan_of(seconds: list[float], **changes: object) -> Plan:
    items = tuple(
        Planned(f"{i}.wav", None, None, 1, 2, abs(length), "broken" if length < 0 else None)
        for i, length in enumerate(seconds)
    )
    return Plan(replace(SETTINGS, **changes), items, "/")  # type: ignore[arg-type]


lengths = st.lists(st.floats(-10, 4000, allow_nan=False), max_size=60)


@given(lengths, st.integers(1, 20), st.sampled_from(["mean", None]))
def test_shards_are_consecutive_and_within_the_limits(
    seconds: list[float], max_items: int, pooling: str | None
) -> None:
    plan = plan_of(seconds, shard_items=max_items, pooling=pooling, width=4096)
    shards = plan.shards()
    assert [n for shard in shards for n in range(shard.start, shard.stop)] == list(range(len(seconds)))
    assert [shard.number for shard in shards] == list(range(len(shards)))
    for shard in shards:
        inside = plan.items[shard.start : shard.stop]
        assert 1 <= len(inside) <= max_items
        if len(inside) > 1:
            assert sum(item.seconds for item in inside) <= planning.SHARD_SECONDS
            assert sum(plan.settings.count_bytes(item.seconds) for item in inside) <= planning.SHARD_BYTES


@given(lengths, st.floats(0.5, 5000))
def test_batches_hold_every_readable_item_once_within_the_limit(seconds: list[float], limit: float) -> None:
    plan = plan_of(seconds, batch_seconds=limit, shard_items=30)
    for shard in plan.shards():
        batches = list(plan.batches(shard))
        readable = [n for n in range(shard.start, shard.stop) if plan.items[n].reason is None]
        assert sorted(n for batch in batches for n in batch) == readable
        for batch in batches:
            longest = max(plan.items[n].seconds for n in batch)
            assert len(batch) == 1 or len(batch) * max(longest, planning.MIN_SECONDS) <= limit * (1 + 1e-9)
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
    for change in ({"layers": (1,)}, {"fingerprint": "f"}, {"dtype": "bfloat16"}, {"batch_seconds": 30.0}):
        assert not set(before) & {shard.key for shard in plan_of(seconds, **change).shards()}


def test_the_bytes_of_frames_limit_a_shard() -> None:
    plan = plan_of([10.0] * 100, pooling=None, width=1024, layers=tuple(range(13)), shard_items=1000)
    assert plan.settings.count_bytes(10.0) == 10 * 50 * 13 * 1024 * 4
    assert {shard.stop - shard.start for shard in plan.shards()[:-1]} == {5}


def test_settings_resolve_the_requested_layers(hubert: Encoder) -> None:
    assert EmbedSettings.of(hubert).layers == (3,)
    assert EmbedSettings.of(hubert, layer="0,-1,3").layers == (0, 3)
    assert EmbedSettings.of(hubert, layer="all").layers == (0, 1, 2, 3)
    assert EmbedSettings.of(hubert, pooling="stats").width == 96
    assert EmbedSettings.of(hubert).fingerprint == hubert.fingerprint()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"layer": 4}, "layer"),
        ({"layer": "first"}, "layer"),
        ({"pooling": "median"}, "median"),
        ({"storage": "float8"}, "storage"),
        ({"batch_seconds": 0.0}, "batch_seconds"),
        ({"shard_items": 0}, "shard_items"),
    ],
)
def test_the_error_for_an_invalid_setting_has_its_name(hubert: Encoder, changes: dict, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        EmbedSettings.of(hubert, **changes)
