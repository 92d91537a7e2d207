"""Word times: warping against the textbook algorithm, and properties of words for any model output."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import noise
from small_whisper import small_whisper

from zoo.models.whisper.decoding import DecodingOptions
from zoo.models.whisper.timing import _cut_pauses, _merge_marks, find_words, median_filter, warp
from zoo.text.transcript import Word


def textbook(cost: np.ndarray) -> tuple[float, list[int]]:
    """Cheapest corner-to-corner path cell by cell: its cost, and the column at which it enters each row."""
    rows, size = cost.shape
    total = np.full((rows + 1, size + 1), np.inf)
    total[0, 0] = 0
    for i in range(rows):
        for j in range(size):
            total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    i, j, starts = rows - 1, size - 1, [0] * rows
    while i or j:
        ways = {(i - 1, j - 1): total[i, j], (i - 1, j): total[i, j + 1], (i, j - 1): total[i + 1, j]}
        before = min(ways, key=lambda way: ways[way])
        if before[0] < i:
            starts[i] = j
        i, j = before
    return float(total[-1, -1]), starts


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 2**31))
def test_warping_is_dynamic_programming(rows: int, size: int, seed: int) -> None:
    cost = np.random.default_rng(seed).normal(size=(rows, size))
    assert warp(torch.tensor(cost)) == textbook(cost)[1]


@given(st.integers(1, 40), st.integers(0, 99))
def test_the_median_is_that_of_numpy(size: int, seed: int) -> None:
    x = torch.randn(2, size, generator=torch.Generator().manual_seed(seed))
    found = median_filter(x, 7)
    if size <= 3:
        assert torch.equal(found, x)
    else:
        padded = np.pad(x.numpy(), ((0, 0), (3, 3)), mode="reflect")
        assert np.array_equal(found.numpy(), [[np.median(row[i : i + 7]) for i in range(size)] for row in padded])


def spoken(*words: tuple[str, float, float]) -> list[Word]:
    return [Word(text, start, end, 1.0) for text, start, end in words]


def test_marks_join_the_word_beside_them() -> None:
    found = _merge_marks(spoken((' "', 0, 0.1), (" well", 0.1, 0.5), (",", 0.5, 0.6), (" said", 0.6, 1.0), (".", 1, 3)))
    assert [(w.text, w.start, w.end) for w in found] == [(' " well,', 0.1, 0.5), (" said.", 0.6, 1.0)]
    assert [w.text for w in _merge_marks(spoken((" (", 0, 1)))] == [" ("]


def test_a_pause_belongs_to_no_word() -> None:
    words = spoken((" one", 0.0, 3.0), (" two", 3.0, 3.2), (" three", 3.2, 3.4), (".", 3.4, 9.0), (" four", 9.0, 15.0))
    _cut_pauses(words)
    times = [t for w in words for t in (w.start, w.end)]
    assert times == pytest.approx([1.6, 3.0, 3.0, 3.2, 3.2, 3.4, 3.4, 4.8, 13.6, 15.0])


texts = st.lists(st.lists(st.lists(st.integers(0, 267), max_size=6), max_size=3), min_size=1, max_size=4)


@settings(max_examples=15, deadline=None)
@given(texts, st.integers(0, 99), st.sampled_from([0.05, 1.0, 7.3, 30.0]))
def test_words_are_complete_in_order_and_inside(ids: list[list[list[int]]], seed: int, seconds: float) -> None:
    model = small_whisper()
    assert model.tokenizer is not None
    wave = noise(seconds, seed)
    states, languages = model.encode_windows([wave] * len(ids)), ["en", "zh", "de", "en"][: len(ids)]
    together = find_words(model, states, ids, languages, [seconds] * len(ids), DecodingOptions())
    for i, segments in enumerate(together):
        assert [bool(words) for words in segments] == [bool(text) for text in ids[i]]
        found = [word for words in segments for word in words]
        times = [t for word in found for t in (word.start, word.end)]
        assert times == sorted(times) and all(0 <= t <= seconds for t in times)
        assert all(0 <= word.probability <= 1.0001 for word in found)
        one = model.encode_windows([wave])
        (alone,) = find_words(model, one, [ids[i]], [languages[i]], [seconds], DecodingOptions())
        assert [w.text for words in alone for w in words] == [w.text for w in found]
        assert [w.start for words in alone for w in words] == pytest.approx([w.start for w in found], abs=0.021)
