"""Classifiers on frozen features: fit each candidate layer, choose on dev, predict test.

Legend: N items, D features, S draws or seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from zoo.benchmarks.metrics import METRICS
from zoo.benchmarks.probe import ProbeResult, Split

Predict = Callable[[Tensor], np.ndarray]
"""From features (N, D) to class indices (S, N)."""


def best_on_dev(
    train: Split, dev: Split, test: Split, layers: Sequence[int], metric: str, fit: Callable[[Tensor], Predict]
) -> ProbeResult:
    """The layer with the highest mean dev score over draws, and its predictions for test. One layer needs no dev.

    fit: called with the training features (N, D) of a layer.
    """
    score = METRICS[metric]
    best: tuple[float, int, Predict] | None = None
    curves: dict[str, list[float]] = {"dev": [], "test": []}
    for layer in layers:
        predict = fit(train.layers(layer))
        on_dev = 0.0
        if len(dev.targets):
            on_dev = float(np.mean([score(draw, dev.targets) for draw in predict(dev.layers(layer))]))
        on_test = [score(draw, test.targets) for draw in predict(test.layers(layer))]
        curves["dev"].append(on_dev)
        curves["test"].append(float(np.mean(on_test)))
        if best is None or on_dev > best[0]:
            best = (on_dev, layer, predict)
    assert best is not None
    _, layer, predict = best
    outputs = predict(test.layers(layer))
    scores = np.array([score(draw, test.targets) for draw in outputs])

    def predict_split(split: Split) -> np.ndarray:
        return predict(split.layers(layer))

    return ProbeResult(layer, None, outputs, scores, predict_split, curves["dev"], curves["test"])
