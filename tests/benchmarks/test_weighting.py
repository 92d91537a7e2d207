"""A learned mixture of layers: it beats single layers, and its weights are where the signal is."""

from __future__ import annotations

import gc

import numpy as np
import torch
from synthetic import generator, splits

from zoo.benchmarks.probe import ProbeConfig, probe
from zoo.benchmarks.weighting import probe_weighted

SIZES = (400, 150, 300)


def halves() -> tuple[torch.Tensor, np.ndarray]:
    """Four classes: layer 1 has the first of two bits, layer 3 the second; layers 0, 2 and 4 are noise."""
    g = generator(5)
    labels = torch.randint(4, (sum(SIZES),), generator=g)
    x = torch.randn(5, sum(SIZES), 16, generator=g)
    for layer, bit in ((1, labels // 2), (3, labels % 2)):
        x[layer, :, :4] += 2.5 * (2 * bit[:, None] - 1)
    x[3, :, :8] = x[3, :, :8].roll(4, dims=1)  # in other columns than in layer 1
    return x, labels.numpy()


def test_a_mixture_combines_two_layers() -> None:
    x, labels = halves()
    parts = splits(x, labels, SIZES)
    config = ProbeConfig(seeds=2, penalties=(1e-1, 1e-2))
    single, mixed = probe(*parts, range(5), config), probe_weighted(*parts, range(5), config)
    assert single.scores.mean() < 0.65 and mixed.scores.mean() > 0.9
    assert sum(mixed.weights) == np.float32(1) or abs(sum(mixed.weights) - 1) < 1e-5
    assert mixed.weights[1] + mixed.weights[3] > 0.9 and mixed.layer in (1, 3)
    assert (mixed.predict(parts[2]) == mixed.outputs).all(), "a second prediction is equal"


def test_dev_and_test_are_mixed_one_layer_at_a_time() -> None:
    x, labels = halves()
    train, dev, test = splits(x, labels, SIZES)
    read, counts = dev.layers, []

    def layers(k: int) -> torch.Tensor:
        counts.append(sum(type(each) is torch.Tensor and each.shape == (SIZES[1], 16) for each in gc.get_objects()))
        return read(k)

    dev.layers = layers
    probe_weighted(train, dev, test, range(5), ProbeConfig(seeds=1, penalties=(1e-2,)))
    assert len(counts) == 5 and counts[-1] == counts[1], "only one layer is in memory"


def test_shuffled_labels_stay_at_chance_and_values_work() -> None:
    x, labels = halves()
    shuffled = np.random.default_rng(0).permutation(labels)
    mixed = probe_weighted(*splits(x, shuffled, SIZES), range(5), ProbeConfig(seeds=2, penalties=(1e-2,)))
    assert 0.15 < mixed.scores.mean() < 0.35
    values = (x[2] @ torch.randn(16, 1, generator=generator(1))).double().numpy() * 9 + 100
    mixed = probe_weighted(*splits(x, values, SIZES), range(5), ProbeConfig("value", "r2", seeds=2, penalties=(1e-3,)))
    assert mixed.scores.min() > 0.95 and mixed.layer == 2
