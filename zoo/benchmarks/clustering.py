"""Clustering: do the k-means clusters of test clips agree with their classes? V-measure, as in MTEB.

Protocol of MTEB 2.26 (AbsTaskClustering, seed 42): each run draws `sample` clips with replacement, and clusters their
features with scikit-learn's MiniBatchKMeans, into as many clusters as there are classes (batches of 512, one k-means++
start). The score is the mean over runs.

Legend: N clips, D features, C classes, K clusters, G groups, R runs, M drawn clips.
"""

from __future__ import annotations

import random

import numpy as np
from sklearn.cluster import MiniBatchKMeans

SEED = 42


def tables(
    features: np.ndarray, classes: np.ndarray, groups: np.ndarray, runs: int = 10, sample: int = 16_384
) -> np.ndarray:
    """Counts of drawn clips by run, group, class and cluster: (R, G, C, K).

    features (N, D); classes and groups (N,): numbers from 0.
    """
    generator = random.Random(SEED)
    count = int(classes.max()) + 1
    counts = np.zeros((runs, int(groups.max()) + 1, count, count))
    kmeans = MiniBatchKMeans(count, batch_size=512, init="k-means++", n_init=1, random_state=SEED)
    for run in range(runs):
        drawn = np.array(generator.choices(range(len(features)), k=sample))  # (M,)
        clusters = kmeans.fit_predict(features[drawn])
        np.add.at(counts[run], (groups[drawn], classes[drawn], clusters), 1)
    return counts


def v_measure(table: np.ndarray) -> float:
    """V-measure of a table of counts by class and cluster (C, K): 2 I / (H(class) + H(cluster)); 1 if both are one.

    Rosenberg & Hirschberg 2007, with beta = 1: the harmonic mean of homogeneity and completeness.
    """
    share = table / table.sum()
    of_class, of_cluster = share.sum(1, keepdims=True), share.sum(0, keepdims=True)
    both = _entropy(of_class) + _entropy(of_cluster)
    if both == 0:
        return 1.0
    known = share > 0
    information = float((share[known] * np.log(share[known] / (of_class * of_cluster)[known])).sum())
    return max(0.0, 2 * information / both)


def mean_v_measure(counts: np.ndarray) -> float:
    """Mean V-measure over runs, of counts (R, G, C, K)."""
    return float(np.mean([v_measure(of_run.sum(0)) for of_run in counts]))


def _entropy(shares: np.ndarray) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())
