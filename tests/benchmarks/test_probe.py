"""Probes on features with known targets: they find the signal, and nothing without a signal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from synthetic import generator, splits

from zoo.benchmarks.metrics import METRICS
from zoo.benchmarks.probe import ProbeConfig, Split, fit_layer, probe, seed_weights
from zoo.benchmarks.significance import seeds_interval
from zoo.benchmarks.weighting import probe_weighted
from zoo.errors import ConfigError

SIZES = (400, 120, 240)


def planted(layer: int, layers: int = 5, width: int = 24) -> tuple[torch.Tensor, np.ndarray]:
    """Noise everywhere, and at one layer a linear trace of the class."""
    g = generator(7)
    labels = torch.randint(4, (sum(SIZES),), generator=g)
    x = torch.randn(layers, sum(SIZES), width, generator=g)
    x[layer] += 1.2 * torch.randn(4, width, generator=g)[labels]
    return x, labels.numpy()


def test_a_planted_linear_signal_is_found_at_its_layer() -> None:
    x, labels = planted(layer=3)
    train, dev, test = splits(x, labels, SIZES)
    result = probe(train, dev, test, range(5), ProbeConfig())
    assert result.layer == 3
    assert result.scores.mean() > 0.9
    assert len(result.scores) == 5 and result.outputs.shape == (5, 240)
    others = [score for k, score in enumerate(result.test) if k != 3]
    assert max(others) < 0.4


def test_shuffled_labels_give_chance_within_the_interval() -> None:
    x, labels = planted(layer=2)
    inside = 0
    for seed in range(5):
        shuffled = np.random.default_rng(seed).permutation(labels)
        train, dev, test = splits(x, shuffled, SIZES)
        result = probe(train, dev, test, range(5), ProbeConfig(seeds=3))
        interval = seeds_interval(result.outputs == test.targets, test.groups)
        inside += interval.low <= 0.25 <= interval.high
    assert inside >= 4


def test_test_labels_do_not_affect_the_choice() -> None:
    x, labels = planted(layer=1)
    train, dev, test = splits(x, labels, SIZES)
    honest = probe(train, dev, test, range(5), ProbeConfig(seeds=2))
    test.targets = np.roll(test.targets, 1)
    blind = probe(train, dev, test, range(5), ProbeConfig(seeds=2))
    assert (honest.layer, honest.penalty, honest.dev) == (blind.layer, blind.penalty, blind.dev)
    assert (honest.outputs == blind.outputs).all()


def test_values_and_tags() -> None:
    g = generator(1)
    x = torch.randn(2, sum(SIZES), 16, generator=g)
    values = (x[1] @ torch.randn(16, 2, generator=g)).double().numpy() * 50 + 120
    result = probe(*splits(x, values, SIZES), range(2), ProbeConfig("value", "r2", seeds=2))
    assert result.layer == 1 and result.scores.min() > 0.99
    assert abs(result.outputs.mean() - 120) < 20, "outputs are in the units of the targets"
    tags = (values > 120).astype(float)
    result = probe(*splits(x, tags, SIZES), range(2), ProbeConfig("tags", "map", seeds=2))
    assert result.layer == 1 and result.scores.min() > 0.9


def test_balancing_raises_the_recall_of_rare_classes() -> None:
    g = generator(3)
    labels = (torch.rand(sum(SIZES), generator=g) < 0.06).long()
    x = torch.randn(1, sum(SIZES), 8, generator=g) + 1.2 * labels[None, :, None]
    parts = splits(x, labels.numpy(), SIZES)
    plain = probe(*parts, [0], ProbeConfig(metric="balanced_accuracy", penalties=(1.0,), seeds=2))
    balanced = probe(*parts, [0], ProbeConfig(metric="balanced_accuracy", penalties=(1.0,), seeds=2, balanced=True))
    assert balanced.scores.mean() > plain.scores.mean() + 0.1


def test_a_seed_leaves_out_whole_groups_and_no_class() -> None:
    groups = np.repeat(np.arange(20), 10)
    labels = np.zeros(200, dtype=np.int64)
    labels[:10] = 1  # one group has all of class 1
    rows = seed_weights(Split(lambda k: torch.zeros(200, 1), labels, groups), ProbeConfig(seeds=30))
    np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-5)
    selected = rows.reshape(30, 20, 10) > 0
    assert (selected.all(2) | ~selected.any(2)).all(), "a group is in or out"
    assert (selected[:, :1].all()) and set(selected.any(2).sum(1)) <= {18, 19}
    assert len({tuple(row) for row in selected.any(2)}) > 5, "seeds differ"


def test_constant_features_do_no_harm() -> None:
    x, labels = planted(layer=0, layers=1)
    x = torch.cat([x, torch.full((1, sum(SIZES), 3), 5.0)], dim=2)
    result = probe(*splits(x, labels, SIZES), [0], ProbeConfig(seeds=2))
    assert result.scores.mean() > 0.9


@pytest.mark.parametrize("width", [3, 900], ids=["fewer than items", "more than items"])
def test_features_that_are_all_constant_score_as_chance_does(width: int) -> None:
    _, labels = planted(layer=0, layers=1)
    silent = torch.full((1, sum(SIZES), width), 5.0)
    for run in (probe, probe_weighted):
        result = run(*splits(silent, labels, SIZES), [0], ProbeConfig(seeds=2))
        assert len(set(result.outputs[0].tolist())) == 1, "the most frequent class for every item"


@pytest.mark.parametrize(
    ("labels", "message"),
    [(np.zeros(760, dtype=np.int64), "one class"), (np.r_[np.arange(400) % 2, np.full(360, 2)], "train lacks")],
)
def test_targets_that_cannot_be_learned_are_refused(labels: np.ndarray, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        probe(*splits(torch.zeros(1, 760, 2), labels, SIZES), [0], ProbeConfig())


@pytest.mark.parametrize("seed", range(4))
def test_metrics_equal_those_of_sklearn(seed: int) -> None:
    from sklearn import metrics

    rng = np.random.default_rng(seed)
    truth, scores = (rng.random((80, 5)) < 0.3).astype(float), np.round(rng.normal(size=(80, 5)), 1)  # with ties
    a, b = rng.integers(4, size=90), rng.integers(4, size=90)
    pairs = {
        "map": (scores, truth, metrics.average_precision_score(truth, scores, average="macro")),
        "roc_auc": (scores, truth, metrics.roc_auc_score(truth, scores, average="macro")),
        "r2": (scores, truth, metrics.r2_score(truth, scores)),
        "accuracy": (a, b, metrics.accuracy_score(b, a)),
        "balanced_accuracy": (a, b, metrics.balanced_accuracy_score(b, a)),
    }
    for name, (predicted, target, expected) in pairs.items():
        assert METRICS[name](predicted, target) == pytest.approx(expected, rel=0, abs=1e-12), name


@pytest.mark.slow
def test_probes_predict_as_exact_solutions_do() -> None:
    """With small penalties and separate classes, early stopping changes predictions on shifted data."""
    g = generator(0)
    labels = torch.randint(5, (400,), generator=g)
    means, shift = 0.5 * torch.randn(5, 200, generator=g), 0.5 * torch.randn(200, generator=g)
    spread, basis = torch.arange(1, 201) ** -1.0, torch.linalg.qr(torch.randn(200, 200, generator=g))[0]
    noise = torch.randn(2, 400, 200, generator=g)
    x, y = (((noise[i] + means[labels] + i * shift) * spread) @ basis for i in range(2))
    config = ProbeConfig(seeds=2)
    rows = seed_weights(Split(lambda k: x, labels.numpy(), np.arange(400)), config)
    predicted = fit_layer(x, labels.numpy(), rows, config)(y)  # (R, S, N)
    center, scale = x.double().mean(0), x.double().std(0, correction=0)
    for r, penalty in enumerate(config.penalties):
        for s, row in enumerate(rows):
            exact = LogisticRegression(C=1 / (penalty * (row > 0).sum()), tol=1e-8, max_iter=3000)
            exact.fit(((x - center) / scale)[row > 0], labels[row > 0])
            assert (predicted[r, s] == exact.predict((y - center) / scale)).mean() > 0.985, penalty
