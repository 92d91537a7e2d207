"""Texts of a clip: weights, draws as a function of the seed, tags, and sources without texts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.benchmarks.retrieval import chance
from zoo.data.manifest import Entry
from zoo.errors import ConfigError
from zoo.recipes.mulan.config import MusicConfig
from zoo.recipes.mulan.texts import Texts

FULL = Entry(
    Path("a.wav"),
    10.0,
    "train",
    text="A text.",
    captions=["One.", "Two.", "Three."],
    labels={"instrument": "flute", "style": "waltz", "bpm": 90, "drums": False, "accompaniment": "none"},
)
BARE = Entry(Path("b.wav"), 10.0, "train", labels={"instrument": "oboe"})


def test_without_weights_captions_are_used_or_else_the_text() -> None:
    texts = Texts({})
    assert texts.of(FULL) == {"captions": ["One.", "Two.", "Three."]}
    assert texts.of(Entry(Path("c.wav"), 1.0, "train", text="Only.")) == {"captions": ["Only."]}
    assert {texts.draw(FULL, seed) for seed in range(50)} == {"One.", "Two.", "Three."}
    assert texts.first(FULL) == "One."


def test_blank_is_no_text() -> None:
    blank = Entry(Path("b.wav"), 1.0, "train", text=" ", captions=["", "\n", " \t"], labels={"style": "  "})
    assert not Texts({"captions": 1.0, "text": 1.0, "style": 1.0}).of(blank)
    assert Texts({}).of(replace(blank, captions=[" ", "One."])) == {"captions": ["One."]}
    with pytest.raises(ConfigError, match="no clip has one of the texts captions"):
        Texts({}).usable([blank, blank], "mine", print)


@pytest.mark.parametrize("weight", [-1.0, 0.0, float("nan"), float("inf")])
def test_weights_are_numbers_above_zero(weight: float) -> None:
    with pytest.raises(ConfigError, match=r"data\.text"):
        MusicConfig(text={"captions": weight})


def test_kinds_are_drawn_by_weight_among_those_of_the_clip() -> None:
    texts = Texts({"captions": 2.0, "instrument": 1.0, "text": 1.0, "style": 0.0})
    counts = Counter(texts.draw(FULL, seed) for seed in range(4000))
    assert 0.46 < (counts["One."] + counts["Two."] + counts["Three."]) / 4000 < 0.54
    assert 0.22 < counts["flute"] / 4000 < 0.28 and "waltz" not in counts
    assert {texts.draw(BARE, seed) for seed in range(30)} == {"oboe"}


@given(st.integers(0, 2**62))
def test_tags_are_some_in_any_order(seed: int) -> None:
    texts = Texts({"instrument+style+bpm+drums+accompaniment": 1.0})
    tags = texts.draw(FULL, seed).split(", ")
    assert tags and len(set(tags)) == len(tags) and set(tags) <= {"flute", "waltz", "90"}
    assert texts.draw(FULL, seed) == texts.draw(FULL, seed)
    assert texts.first(FULL) == "flute, waltz, 90"


def test_all_selections_of_tags_occur() -> None:
    texts = Texts({"instrument+style": 1.0})
    drawn = {texts.draw(FULL, seed) for seed in range(100)}
    assert drawn == {"flute", "waltz", "flute, waltz", "waltz, flute"}


def test_clips_without_text_and_missing_kinds_are_reported() -> None:
    messages: list[str] = []
    assert Texts({"captions": 1.0}).usable([FULL, BARE], "x", messages.append) == [FULL]
    assert Texts({"instrument": 1.0, "title": 1.0}).usable([FULL, BARE], "x", messages.append) == [FULL, BARE]
    assert messages[0] == "1 of 2 clips of x have no text and are left out"
    expected = (
        "the texts of x are instrument; no clip has title, which data.text names too (other columns: accompaniment,"
    )
    assert messages[1].startswith(expected)
    messages.clear()
    Texts({"captions": 1.0, "instrument+famly+text": 1.0, "drums": 1.0}).usable([FULL, BARE], "x", messages.append)
    assert len(messages) == 1 and "no clip has famly, drums, which data.text names too" in messages[0]
    with pytest.raises(ConfigError, match=r"no clip has one of the texts title \(data.text\).* columns instrument"):
        Texts({"title": 1.0}).usable([BARE], "x", messages.append)
    for weights in ({"captions": -1.0}, {"captions": 0.0}):
        with pytest.raises(ConfigError, match="weights"):
            MusicConfig(text=weights)


@pytest.mark.parametrize("relevant", [[1] * 12, [3] * 12, [1, 2, 5, 12] * 3])
def test_chance_equals_the_mean_of_random_orders(relevant: list[int]) -> None:
    generator = np.random.default_rng(0)
    count, rounds = 12, 3000
    expected = chance(np.array(relevant), count)
    ranks, precisions = [], []
    for num_relevant in relevant:
        orders = generator.permuted(np.tile(np.arange(count), (rounds, 1)), axis=1) < num_relevant  # True: relevant
        ranks.append(1 + orders.argmax(1))
        precision = orders.cumsum(1) / np.arange(1, count + 1)
        precisions.append((precision * orders).sum(1) / num_relevant)
    all_ranks = np.concatenate(ranks)
    for k in (1, 5, 10):
        assert expected[f"R@{k}"] == pytest.approx((all_ranks <= k).mean(), abs=0.01)
    assert expected["MRR"] == pytest.approx((1 / all_ranks).mean(), abs=0.01)
    assert expected["mAP"] == pytest.approx(np.concatenate(precisions).mean(), abs=0.01)
    assert abs(expected["median rank"] - np.median(all_ranks)) <= 1
