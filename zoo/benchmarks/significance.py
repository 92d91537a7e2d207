"""Error bars and tests that respect how the data came about: items of one speaker or piece are not independent.

Intervals are bootstrap intervals over groups (Efron & Tibshirani 1993), with the percentiles widened for small numbers
of groups as in Hesterberg, "What teachers should know about the bootstrap" (2015), section 4.

Legend: N items, G groups, S seeds, B replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from zoo.errors import ConfigError

REPLICATES = 2000
REPLICATES_ANEW = 200  # of a statistic that is computed anew for each
LEVEL = 0.95
_FARTHEST = -8.0  # standard deviations that replicates without any spread count as


@dataclass(frozen=True)
class Interval:
    """low, high: bounds of the score at `level`. NaN where fewer than two groups leave nothing to resample."""

    low: float
    high: float
    level: float = LEVEL


@dataclass(frozen=True)
class Comparison:
    """difference: A minus B, with its interval; p: two-sided, that there is none."""

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
    """Of sum(numerator) / sum(denominator) over items, (N,) each: an accuracy, or a corpus WER.

    share: both count the same. Else it is a rate, of words by minutes for one; where there were none, the bound is that
    of a single one in each group that may have some.
    """
    top, bottom, count = _group_sums(numerator, groups), _group_sums(denominator, groups), _count(groups)
    if np.all(top == 0) or (share and np.all(top == bottom)):
        found = _unanimous(float(top.sum() / bottom.sum()), count, level)
        return found if share else replace(found, high=float(found.high * count / bottom.sum()))
    draws = _draws(count, seed)  # (B, G)
    return _percentiles(_ratios(draws, top, bottom), count, level)


def seeds_interval(correct: np.ndarray, groups: np.ndarray, *, level: float = LEVEL, seed: int = 0) -> Interval:
    """Of the mean of correct (S, N) over seeds and items, resampling both."""
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
    """Of any statistic(item numbers) -> float, such as R2 or average precision, by calling it on resampled items.

    share: it goes from 0 to 1, so that where every replicate is at one end, a bound takes the interval's place.
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
    """Of two systems on the same items: (sum(a) - sum(b)) / sum(denominator), (N,) each; for WER, errors and words.

    As Bisani & Ney 2004 compare word error rates, with groups for utterances; p is widened for small numbers of groups
    as the interval is, so that two speakers who agree prove nothing.
    """
    if not a.shape == b.shape == denominator.shape == groups.shape:
        raise ConfigError("a paired test needs both systems' results on the same items, in the same order")
    top, bottom, count = _group_sums(a - b, groups), _group_sums(denominator, groups), _count(groups)
    difference = float(top.sum() / bottom.sum())
    draws = _draws(count, seed)
    values = _ratios(draws, top, bottom)
    return Comparison(difference, _percentiles(values, count, level), _two_sided(values, difference, count))


def mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Exact two-sided p that two classifiers err equally often: correct (N,) of both, on the same items.

    McNemar 1947: of the items that only one gets right, either is as likely. It takes items for independent; where
    groups exist, prefer `paired_bootstrap`.
    """
    if a.shape != b.shape:
        raise ConfigError("McNemar's test needs both systems' answers to the same items, in the same order")
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    return float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def ranks(scores: Sequence[float], p: np.ndarray, *, level: float = LEVEL) -> list[int]:
    """1 + how many are significantly better: who is not told apart shares a rank. Higher scores are better.

    p (M, M): pairwise; Holm's correction is applied over the pairs.
    """
    size = len(scores)
    pairs = sorted((p[i, j], i, j) for i in range(size) for j in range(i))
    apart = np.zeros((size, size), dtype=bool)
    for done, (value, i, j) in enumerate(pairs):
        if value > (1 - level) / (len(pairs) - done):
            break
        apart[i, j] = apart[j, i] = True
    return [1 + sum(bool(apart[i, j]) and scores[j] > scores[i] for j in range(size)) for i in range(size)]


def _numbered(groups: np.ndarray) -> np.ndarray:
    return np.unique(groups, return_inverse=True)[1]


def _count(groups: np.ndarray) -> int:
    return len(np.unique(groups))


def _group_sums(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(N,) -> (G,)."""
    return np.bincount(_numbered(groups), weights=values)


def _draws(count: int, seed: int) -> np.ndarray:
    """How often each of `count` units is in each replicate: (B, count)."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=REPLICATES).astype(float)


def _ratios(draws: np.ndarray, top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """(B,); NaN for a replicate that drew nothing to divide by."""
    below = draws @ bottom
    return np.divide(draws @ top, below, out=np.full(len(draws), np.nan), where=below > 0)


def _percentiles(values: np.ndarray, count: int, level: float) -> Interval:
    if count < 2:
        return Interval(float("nan"), float("nan"), level)
    tail = stats.norm.cdf(np.sqrt(count / (count - 1)) * stats.t.ppf((1 - level) / 2, count - 1))
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high), level)


def _two_sided(values: np.ndarray, difference: float, count: int) -> float:
    """p that replicates (B,) of a difference lie on both sides of 0, by the percentiles' widening turned around.

    Where none lies beyond 0, the tail is the normal one of their spread.
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
    """Where every item says the same, resampling says nothing: the exact binomial bound, a group being one trial."""
    if value not in (0.0, 1.0):
        return Interval(value, value, level)
    margin = 1 - ((1 - level) / 2) ** (1 / count)
    return Interval(0.0, margin, level) if value == 0 else Interval(1 - margin, 1.0, level)
