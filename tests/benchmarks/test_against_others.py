"""The protocols against the packages that publish them, where they are installed: mteb and xares."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from zoo.benchmarks import clustering, mlp, pairs
from zoo.benchmarks.knn import votes
from zoo.benchmarks.kshot import draw

pytestmark = pytest.mark.slow


def test_draws_of_mteb() -> None:
    classification = pytest.importorskip("mteb.abstasks.classification")
    datasets = pytest.importorskip("datasets")
    labels = np.random.default_rng(0).integers(6, size=500)
    task = classification.AbsTaskClassification.__new__(classification.AbsTaskClassification)
    task.seed = 42
    data, order = datasets.Dataset.from_dict({"label": labels.tolist()}), None
    for rows in draw(labels, 8, 10):
        _, order, expected = task._undersample_data(data, 0, order)
        assert rows.tolist() == expected


def test_clusters_of_mteb() -> None:
    theirs = pytest.importorskip("mteb.abstasks.clustering")
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=150)
    features = rng.normal(size=(150, 8)) + rng.normal(size=(4, 8))[labels]
    scores, _ = theirs._evaluate_clustering_bootstrapped(
        features,
        [[int(label)] for label in labels],
        n_clusters=3,
        cluster_size=400,
        kmean_batch_size=512,
        max_depth=None,
        rng_state=random.Random(42),
        seed=42,
    )
    counts = clustering.tables(features, labels, np.zeros(150, dtype=int), runs=3, sample=400)
    assert clustering.mean_v_measure(counts) == pytest.approx(np.mean(scores["v_measure"]["Level 0"]), abs=1e-6)


def test_average_precision_of_mteb() -> None:
    theirs = pytest.importorskip("mteb.abstasks.pair_classification").AbsTaskPairClassification
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 6))
    given = pairs.Pairs(np.arange(100), np.arange(100, 200), rng.random(100) < 0.5)
    task = theirs.__new__(theirs)
    names = ("cosine", "dot", "euclidean", "manhattan")
    similarities = dict(zip(names, pairs.similarities("max AP", features, given), strict=True))
    scores = task._compute_metrics(
        {
            "similarity_scores": similarities["cosine"].tolist(),
            "cosine_scores": similarities["cosine"].tolist(),
            "dot_scores": similarities["dot"].tolist(),
            "euclidean_distances": (-similarities["euclidean"]).tolist(),
            "manhattan_distances": (-similarities["manhattan"]).tolist(),
        },
        given.same.astype(int).tolist(),
    )
    found = pairs.score("max AP", list(similarities.values()), given.same, 0.01)
    assert found == pytest.approx(scores["max_ap"], abs=1e-6)


def test_neighbors_of_xares() -> None:
    trainer = pytest.importorskip("xares.trainer")
    generator = torch.Generator().manual_seed(0)
    known, items = torch.randn(300, 32, generator=generator), torch.randn(50, 32, generator=generator)
    targets = torch.randint(7, (300,), generator=generator)
    expected = trainer.KNN(known, targets, num_classes=7)(items)
    assert torch.allclose(votes(known, targets, items, scale="features"), expected, atol=1e-6)


def test_network_and_learning_rates_of_xares() -> None:
    simple = pytest.importorskip("xares.models.simple")
    handlers = pytest.importorskip("ignite.handlers")
    (setting,) = mlp.settings("xares")
    torch.manual_seed(0)
    ours = mlp.build(12, 5, setting)
    torch.manual_seed(0)
    theirs = simple.Mlp(12, 5)
    x = torch.randn(3, 12)
    assert torch.allclose(ours(x), theirs(x)[0])
    parameters = torch.optim.Adam(theirs.parameters(), lr=1e-3)
    scheduler = handlers.CosineAnnealingScheduler(parameters, "lr", 1e-3, 1e-4, setting.epochs)
    for epoch in range(setting.epochs):
        scheduler(None)
        rate = setting.rate * mlp._share(epoch / setting.epochs, setting.decay)
        assert parameters.param_groups[0]["lr"] == pytest.approx(rate, abs=1e-9)
