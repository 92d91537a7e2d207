"""Intervals have the stated coverage; tests keep their level and have power."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.benchmarks import significance
from zoo.benchmarks.significance import holm, mcnemar, paired_bootstrap, ranks, ratio_interval, seeds_interval
from zoo.errors import ConfigError

TRIALS, FEW = 300, 60


@pytest.fixture(autouse=True)
def few_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(significance, "REPLICATES", 600)


def speakers(rng: np.random.Generator, count: int, items: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Correct or not, of clips whose speakers differ: (N,) and groups (N,); the mean is 0.7."""
    skill = np.clip(0.7 + spread * rng.uniform(-1, 1, count), 0, 1)
    return rng.random((count, items)).ravel() < np.repeat(skill, items), np.repeat(np.arange(count), items)


@pytest.mark.parametrize("count", [12, pytest.param(40, marks=pytest.mark.slow)])
def test_grouped_intervals_cover_at_the_stated_rate(count: int) -> None:
    rng = np.random.default_rng(0)
    covered = ignoring = 0
    for trial in range(TRIALS):
        correct, groups = speakers(rng, count, 20, 0.3)
        interval = ratio_interval(correct.astype(float), np.ones(len(correct)), groups)
        covered += interval.low <= 0.7 <= interval.high
        if trial < FEW:
            interval = ratio_interval(correct.astype(float), np.ones(len(correct)), np.arange(len(correct)))
            ignoring += interval.low <= 0.7 <= interval.high
    assert 0.92 <= covered / TRIALS <= 0.985
    assert ignoring / FEW < 0.88, "too narrow if items of one speaker count as independent"


def test_word_error_rates_with_utterances_of_any_length() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(TRIALS):
        words = rng.integers(1, 30, 150)
        interval = ratio_interval(rng.binomial(words, 0.12), words, np.repeat(np.arange(50), 3))
        covered += interval.low <= 0.12 <= interval.high
    assert 0.92 <= covered / TRIALS <= 0.985


def test_seeds_widen_the_interval() -> None:
    rng = np.random.default_rng(2)
    correct = rng.random((5, 200)) < np.array([0.5, 0.6, 0.7, 0.8, 0.9])[:, None]
    groups = np.arange(200)
    both = seeds_interval(correct, groups)
    items = ratio_interval(correct.mean(0), np.ones(200), groups)
    assert both.high - both.low > 1.5 * (items.high - items.low)
    assert both.low <= correct.mean() <= both.high


def test_equal_scores_do_not_give_an_interval_of_zero_width() -> None:
    interval = seeds_interval(np.ones((3, 40), dtype=bool), np.arange(40))
    assert interval.high == 1 and interval.low == pytest.approx(1 - (1 - 0.025 ** (1 / 40)))
    interval = ratio_interval(np.zeros(40), np.ones(40), np.arange(40) // 4)
    assert interval.low == 0 and 0.2 < interval.high < 0.4
    assert np.isnan(seeds_interval(np.array([[True, False]]), np.array(["a", "a"])).low), "one group gives no interval"


def test_the_bound_of_a_zero_rate_is_in_its_unit() -> None:
    none, minutes, groups = np.zeros(40), np.full(40, 0.25), np.arange(40)
    interval = ratio_interval(none, minutes, groups, share=False)
    assert interval.low == 0 and interval.high == pytest.approx((1 - 0.025 ** (1 / 40)) / 0.25)
    assert ratio_interval(none, minutes * 60, groups, share=False).high == pytest.approx(interval.high / 60)
    assert ratio_interval(minutes, minutes, groups, share=False).high == 1, "as many words as minutes are no bound"


def test_items_are_grouped_once_however_many_groups_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    numbered = significance._numbered
    monkeypatch.setattr(significance, "_numbered", lambda groups: calls.append(1) or numbered(groups))
    groups = np.array([f"clip {i}" for i in range(50)] * 2)
    drawn: list[np.ndarray] = []
    significance.statistic_interval(lambda items: float(drawn.append(items) or 0.0), groups, replicates=3)
    assert len(calls) == 1 and all(np.array_equal(items[::2] + 50, items[1::2]) for items in drawn)


def test_a_perfect_score_of_any_metric_has_an_interval() -> None:
    groups = np.arange(40) // 2
    assert significance.statistic_interval(lambda items: 1.0, groups, share=True).low == pytest.approx(
        0.025 ** (1 / 20)
    )
    change = significance.statistic_interval(lambda items: 0.0, groups)
    assert change.low == change.high == 0, "no change at all is no share"


def test_paired_bootstrap_keeps_its_level_and_has_power() -> None:
    rng = np.random.default_rng(3)
    words = rng.integers(3, 20, 200)
    groups = np.repeat(np.arange(40), 5)
    false_alarms = hits = 0
    for _ in range(TRIALS):
        hard = rng.uniform(0, 0.3, 200)
        a, b = rng.binomial(words, hard), rng.binomial(words, hard)
        false_alarms += paired_bootstrap(a, b, words, groups).p < 0.05
        worse = rng.binomial(words, hard + 0.08)
        hits += paired_bootstrap(worse, b, words, groups).p < 0.05
    assert false_alarms / TRIALS < 0.09
    assert hits / TRIALS > 0.9
    same = paired_bootstrap(a, a, words, groups)
    assert same.difference == 0 and same.p == 1
    with pytest.raises(ConfigError, match="same items"):
        paired_bootstrap(a, b[:-1], words, groups)


@pytest.mark.parametrize("count", [2, 5, 12])
def test_few_speakers_do_not_raise_false_alarms(count: int) -> None:
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(TRIALS):
        skill = 0.15 * rng.normal(size=(2, count))  # of both systems, speaker by speaker; neither is better
        a, b = (np.clip(0.6 + each, 0, 1).repeat(40) for each in skill)
        right = [(rng.random(len(p)) < p).astype(float) for p in (a, b)]
        alarms += paired_bootstrap(*right, np.ones(len(a)), np.arange(count).repeat(40)).p < 0.05
    assert alarms / TRIALS < 0.08
    better = np.ones(40 * count), np.zeros(40 * count)
    p = paired_bootstrap(*better, np.ones(40 * count), np.arange(count).repeat(40)).p
    assert p > 0.05 if count == 2 else p < 0.01, "two speakers are too few, more that agree are enough"


def test_mcnemar_is_the_exact_binomial_test() -> None:
    a = np.array([True] * 9 + [False] * 1 + [True] * 50)
    b = np.array([False] * 9 + [True] * 1 + [True] * 50)
    assert mcnemar(a, b) == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar(a, a) == 1


def test_systems_without_a_significant_difference_share_a_rank() -> None:
    p = np.ones((3, 3))
    p[0, 2] = p[2, 0] = p[1, 2] = p[2, 1] = 0.001
    p[0, 1] = p[1, 0] = 0.4
    assert ranks(p) == [1, 1, 3]
    p[0, 1] = p[1, 0] = 0.04
    assert ranks(p) == [1, 2, 3]
    p[0, 2] = p[2, 0] = 0.04  # Holm: none of two at 0.04
    assert ranks(p) == [1, 1, 1]


def test_a_lower_score_never_has_a_better_rank() -> None:
    p = np.ones((4, 4))
    p[0, 1] = p[1, 0] = 0.001  # the second is worse than the first; for the third, of another variance, nobody knows
    assert ranks(p) == [1, 2, 2, 2]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_between_the_p_and_that_of_bonferroni_and_keeps_the_order(p: list[float]) -> None:
    corrected = holm(p)
    assert all(a <= b <= min(1.0, a * len(p)) + 1e-12 for a, b in zip(p, corrected, strict=True))
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()


def test_holm_gives_the_published_values() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9), st.integers(0, 6)), min_size=2, max_size=40))
def test_intervals_are_ordered_and_deterministic(rows: list[tuple[int, int, int]]) -> None:
    errors, words, groups = (np.array(column) for column in zip(*rows, strict=True))
    first, second = (ratio_interval(errors, words, groups) for _ in range(2))
    assert repr(first) == repr(second)
    assert np.isnan(first.low) or first.low <= first.high
