"""k-shot logistic regression, the protocol of MTEB's classification tasks (MAEB, arXiv 2602.16008).

Each draw takes `shots` clips of every class from train, and fits scikit-learn's LogisticRegression with at most 100
iterations to their features as they are. The score is the mean over draws. The draws are those of MTEB 2.26
(AbsTaskClassification, seed 42): every draw shuffles the order of the one before it with the same generator. With
folds, fold f has the draws after those of the folds before it, as in MTEB's cross-validation.

Legend: N items, D features, S draws.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from zoo.benchmarks.choice import Predict, best_on_dev
from zoo.benchmarks.probe import ProbeConfig, ProbeResult, Split

SEED = 42
ITERATIONS = 100


def k_shot(
    train: Split,
    dev: Split,
    test: Split,
    layers: Sequence[int],
    config: ProbeConfig,
    *,
    shots: int = 8,
    draws: int = 10,
    fold: int = 0,
) -> ProbeResult:
    """Predictions (S, N) for test, with the layer that is best on dev. fold: number of the test fold."""
    drawn = draw(train.targets, shots, (fold + 1) * draws)[fold * draws :]

    def fit(features: Tensor) -> Predict:
        x = features.numpy()
        heads = [_regression(x[rows], train.targets[rows]) for rows in drawn]
        return lambda items: np.stack([head.predict(items.numpy()) for head in heads])

    return best_on_dev(train, dev, test, layers, config.metric, fit)


def draw(targets: np.ndarray, shots: int, draws: int) -> list[np.ndarray]:
    """Rows of each draw: the first `shots` of each class in a shuffled order; fewer, if the class has fewer.

    targets (N,): class indices.
    """
    order = np.arange(len(targets))
    drawn = []
    for _ in range(draws):
        np.random.RandomState(SEED).shuffle(order)  # not default_rng: the draws must be those of MTEB
        taken: Counter[int] = Counter()
        rows = []
        for row in order:
            if taken[targets[row]] < shots:
                taken[targets[row]] += 1
                rows.append(row)
        drawn.append(np.array(rows))
    return drawn


def _regression(features: np.ndarray, targets: np.ndarray) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 100 iterations are the protocol
        return LogisticRegression(max_iter=ITERATIONS, random_state=SEED).fit(features, targets)
