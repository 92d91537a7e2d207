"""Intervals and tests for grouped data: items of one speaker or piece are not independent.

Intervals are bootstrap intervals over groups (Efron & Tibshirani 1993), with the percentiles widened for small numbers
of groups as in Hesterberg, "What teachers should know about the bootstrap" (2015), section 4.

Legend: N items, G groups, S seeds, B replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from zoo.errors import ConfigError

REPLICATES = 2000
REPLICATES_ANEW = 200  # for a statistic that is computed again for each replicate
LEVEL = 0.95
_FARTHEST = -8.0  # standard deviations; used for replicates without any spread


@dataclass(frozen=True)
class Interval:
    """low, high: bounds of the score at `level`. NaN for fewer than two groups: nothing can be resampled."""

    low: float
    high: float
    level: float = LEVEL


@dataclass(frozen=True)
class Comparison:
    """difference: A minus B, with its interval. p: two-sided, for the hypothesis of no difference."""

    difference: float
    interval: Interval
    p: float


def ratio_interval(
    numerator: np.ndarray,
    denominator: np.ndarray,
    groups: np.ndarray,
    *,
    level: float = LEVEL,
    seed: int = 0,
    share: bool = True,
) -> Interval:
    """Interval of sum(numerator) / sum(denominator) over items, (N,) each: an accuracy, or a corpus WER.

    share: numerator and denominator count the same things. Otherwise it is a rate, such as words per minute. If the
    numerator is 0 everywhere, the upper bound assumes at most one event per group.
    """
    top, bottom, count = _group_sums(numerator, groups), _group_sums(denominator, groups), _count(groups)
    if np.all(top == 0) or (share and np.all(top == bottom)):
        bound = _unanimous(float(top.sum() / bottom.sum()), count, level)
        return bound if share else replace(bound, high=float(bound.high * count / bottom.sum()))
    draws = _draws(count, seed)  # (B, G)
    return _percentiles(_ratios(draws, top, bottom), count, level)


def seeds_interval(correct: np.ndarray, groups: np.ndarray, *, level: float = LEVEL, seed: int = 0) -> Interval:
    """Interval of the mean of correct (S, N) over seeds and items. Both are resampled."""
    hits = np.stack([_group_sums(row, groups) for row in correct], axis=1)  # (G, S)
    sizes, count = _group_sums(np.ones(correct.shape[1]), groups), _count(groups)
    if np.all(correct == correct.flat[0]) and correct.flat[0] in (0, 1):
        return _unanimous(float(correct.flat[0]), count, level)
    draws, of_seeds = _draws(count, seed), _draws(len(correct), seed + 1)  # (B, G), (B, S)
    values = ((draws @ hits) * of_seeds).sum(1) / ((draws @ sizes) * len(correct))
    return _percentiles(values, count, level)


def statistic_interval(
    statistic: Callable[[np.ndarray], float],
    groups: np.ndarray,
    *,
    replicates: int = 400,
    level: float = LEVEL,
    seed: int = 0,
    share: bool = False,
) -> Interval:
    """Interval of any statistic(item indices) -> float, such as R2 or average precision, called on resampled items.

    share: the statistic goes from 0 to 1. If every replicate is 0, or every one is 1, the interval is a binomial bound.
    """
    number = _numbered(groups)
    members = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])  # of each group
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(replicates):
        drawn = generator.integers(len(members), size=len(members))
        values.append(statistic(np.concatenate([members[g] for g in drawn])))
    if share and values[0] in (0.0, 1.0) and len(set(values)) == 1:
        return _unanimous(values[0], len(members), level)
    return _percentiles(np.array(values), len(members), level)


def paired_bootstrap(
    a: np.ndarray, b: np.ndarray, denominator: np.ndarray, groups: np.ndarray, *, level: float = LEVEL, seed: int = 0
) -> Comparison:
    """Compare two systems on the same items: (sum(a) - sum(b)) / sum(denominator), (N,) each. WER: errors and words.

    As Bisani & Ney 2004 compare word error rates, with groups instead of utterances. p is corrected for small numbers
    of groups, as the interval is: two speakers never give a significant difference.
    Raises ConfigError for arrays of different lengths.
    """
    if not a.shape == b.shape == denominator.shape == groups.shape:
        raise ConfigError("a paired test needs both systems' results on the same items, in the same order")
    top, bottom, count = _group_sums(a - b, groups), _group_sums(denominator, groups), _count(groups)
    difference = float(top.sum() / bottom.sum())
    draws = _draws(count, seed)
    values = _ratios(draws, top, bottom)
    return Comparison(difference, _percentiles(values, count, level), _two_sided(values, difference, count))


def mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Exact two-sided p for the hypothesis that two classifiers have the same error rate. a, b (N,): correct or not.

    McNemar 1947: of the items that only one classifier gets right, each has half. The test assumes independent items;
    for grouped data, prefer `paired_bootstrap`. Raises ConfigError for arrays of different lengths.
    """
    if a.shape != b.shape:
        raise ConfigError("McNemar's test needs both systems' predictions for the same items, in the same order")
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    return float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """p values with Holm's correction (1979): the k-th smallest of n times n - k + 1, never decreasing."""
    corrected, largest = [0.0] * len(p), 0.0
    for done, index in enumerate(sorted(range(len(p)), key=lambda each: p[each])):
        largest = max(largest, min(1.0, p[index] * (len(p) - done)))
        corrected[index] = largest
    return corrected


def ranks(p: np.ndarray, *, level: float = LEVEL) -> list[int]:
    """Ranks of systems in the order of their scores, the best first. A lower score never has a better rank.

    p (M, M): of each pair. The best system has rank 1, with the systems below it up to the first that is significantly
    worse. That one has the rank of its position and starts the next group, and so on. Holm's correction is over the
    comparisons of the first of a group with all systems below it.
    """
    found: list[int] = []
    while len(found) < len(p):
        first = len(found)
        worse = [value <= 1 - level for value in holm(p[first, first + 1 :].tolist())]
        size = 1 + (worse.index(True) if True in worse else len(worse))
        found += [first + 1] * size
    return found


def _numbered(groups: np.ndarray) -> np.ndarray:
    return np.unique(groups, return_inverse=True)[1]


def _count(groups: np.ndarray) -> int:
    return len(np.unique(groups))


def _group_sums(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Sums by group: (N,) -> (G,)."""
    return np.bincount(_numbered(groups), weights=values)


def _draws(count: int, seed: int) -> np.ndarray:
    """The number of times that each of `count` units is in each replicate: (B, count)."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=REPLICATES).astype(float)


def _ratios(draws: np.ndarray, top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """The ratio in each replicate (B,); NaN if its denominator is 0."""
    below = draws @ bottom
    return np.divide(draws @ top, below, out=np.full(len(draws), np.nan), where=below > 0)


def _percentiles(values: np.ndarray, count: int, level: float) -> Interval:
    if count < 2:
        return Interval(float("nan"), float("nan"), level)
    tail = stats.norm.cdf(np.sqrt(count / (count - 1)) * stats.t.ppf((1 - level) / 2, count - 1))
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high), level)


def _two_sided(values: np.ndarray, difference: float, count: int) -> float:
    """Two-sided p from the replicates (B,) of a difference: the inverse of the correction in `_percentiles`.

    If no replicate lies beyond 0, the tail is that of a normal distribution with their standard deviation.
    """
    if count < 2:
        return 1.0
    beyond = min((values <= 0).sum(), (values >= 0).sum())
    z = stats.norm.ppf(min(0.5, (beyond + 1) / (len(values) + 1)))
    if not beyond:
        spread = float(np.nanstd(values))
        z = max(_FARTHEST, min(z, -abs(difference) / spread if spread else _FARTHEST))
    return float(2 * stats.t.cdf(z * np.sqrt((count - 1) / count), count - 1))


def _unanimous(value: float, count: int, level: float) -> Interval:
    """The exact binomial bound, with one trial per group: if all items agree, resampling gives no interval."""
    if value not in (0.0, 1.0):
        return Interval(value, value, level)
    margin = 1 - ((1 - level) / 2) ** (1 / count)
    return Interval(0.0, margin, level) if value == 0 else Interval(1 - margin, 1.0, level)


def jackknife(
    score: float, without: np.ndarray, names: Sequence[str], *, level: float = LEVEL, share: bool = True
) -> tuple[Interval, list[dict[str, Any]]]:
    """Interval of a score that is no ratio of sums over items, and a row for each block of groups, for paired tests.

    without (G,): the score without each block of `blocks`; NaN where it is not defined. names: of the blocks. The rows
    hold the pseudo-values G t - (G - 1) t_g. Their mean is the score, up to its bias, and the interval is score +- t
    times their standard error (Tukey 1958; Efron & Tibshirani 1993, chapter 11). share: the score goes from 0 to 1.
    Fewer than three blocks give no interval and no rows.
    """
    defined = np.isfinite(without)
    count = int(defined.sum())
    if count < 3:
        return Interval(float("nan"), float("nan"), level), []
    values = count * score - (count - 1) * without[defined]
    rows = [
        {"item": name, "group": name, "value": float(value), "weight": 1.0}
        for name, value in zip(np.array(names)[defined].tolist(), values, strict=True)
    ]
    margin = float(stats.t.ppf((1 + level) / 2, count - 1) * values.std(ddof=1) / np.sqrt(count))
    if share and score in (0.0, 1.0) and margin == 0:
        return _unanimous(score, count, level), rows
    low, high = score - margin, score + margin
    return Interval(max(low, 0.0) if share else low, min(high, 1.0) if share else high, level), rows


def blocks(groups: Sequence[str], limit: int = 100) -> tuple[np.ndarray, list[str]]:
    """The number of the block of each item (N,), and the names of the blocks, for `jackknife`.

    A block is a group. More groups than `limit` are joined at random: then there are `limit` blocks.
    """
    names, number = np.unique(groups, return_inverse=True)
    if len(names) <= limit:
        return number, names.tolist()
    of_group = np.random.default_rng(0).permutation(len(names)) % limit
    return of_group[number], [f"block {block}" for block in range(limit)]
