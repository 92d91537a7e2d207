"""Probes on a learned mixture of all layers, as SUPERB trains them (Yang et al. 2021, arXiv 2105.01051, section 3):

    y = W (sum_k softmax(a)_k x_k) + b        x_k: layer k, each column standardized over train

a is learned together with W on all training items. Then a is fixed, and the solver of all probes trains the head again
for every seed. The penalty is chosen on dev.

All layers of the training items are in memory: L x N x D x 4 bytes.

Legend: L layers, N items, D features, C outputs, S seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from zoo.benchmarks.metrics import METRICS
from zoo.benchmarks.probe import ProbeConfig, ProbeResult, Split, check, fit_layer, seed_weights, target_matrix
from zoo.benchmarks.solver import LOSSES

ITERATIONS = 60  # of L-BFGS; the mixture converges long before


def probe_weighted(train: Split, dev: Split, test: Split, layers: Sequence[int], config: ProbeConfig) -> ProbeResult:
    """Like probe.probe, on a learned mixture of the layers. Raises ConfigError as probe.probe does."""
    check(train, dev, test, config)
    metric, rows = METRICS[config.metric], seed_weights(train, config)  # (S, N)
    stack = torch.stack([train.layers(k).float() for k in layers])  # (L, N, D)
    center, scale = stack.mean(1, keepdim=True), stack.std(1, correction=0, keepdim=True)
    scale = torch.where(scale > 1e-6 * center.abs() + 1e-12, scale, torch.inf)  # drop constant columns
    stack = (stack - center) / scale

    def mixed(split: Split, weights: Tensor) -> Tensor:
        """The mixture (N, D). It reads one layer at a time."""
        total = torch.zeros(())
        for w, k, c, s in zip(weights, layers, center, scale, strict=True):
            total = total + w * ((split.layers(k).float() - c) / s)
        return total

    best: ProbeResult | None = None
    best_dev = -np.inf
    for penalty in config.penalties:
        weights = learn_weights(stack, train.targets, rows.mean(0), penalty, config)  # (L,)
        one = replace(config, penalties=(penalty,))
        fitted = fit_layer(torch.einsum("l,lnd->nd", weights, stack), train.targets, rows, one)
        predict = _predictor(fitted, mixed, weights)
        on_dev = float(np.nan_to_num(np.mean([metric(seed, dev.targets) for seed in predict(dev)]), nan=-np.inf))
        if best is None or on_dev > best_dev:
            best_dev, outputs = on_dev, predict(test)
            scores = np.array([metric(seed, test.targets) for seed in outputs])
            heaviest = layers[int(weights.argmax())]
            best = ProbeResult(heaviest, penalty, outputs, scores, predict, weights=weights.tolist())
    assert best is not None
    return best


def learn_weights(stack: Tensor, targets: np.ndarray, items: np.ndarray, penalty: float, config: ProbeConfig) -> Tensor:
    """softmax(a) (L,), learned together with a head. stack (L, N, D): standardized; items (N,): weights with sum 1."""
    x, loss = stack.to(config.device), LOSSES[config.loss]
    target = target_matrix(targets, config)[0].to(x.device)  # (C, N)
    share = torch.from_numpy(items).to(x.device)
    a = torch.zeros(len(x), device=x.device, requires_grad=True)
    head = torch.zeros(len(target), x.shape[2], device=x.device, requires_grad=True)
    bias = torch.zeros(len(target), 1, device=x.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([a, head, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        mixture = torch.einsum("l,lnd->nd", a.softmax(0), x)  # (N, D)
        z = (head @ mixture.T + bias)[None]  # (1, C, N)
        value = (loss.value(z, target)[0] * share).sum() + penalty / 2 * head.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)
    return a.detach().softmax(0).cpu()


def _predictor(
    fitted: Callable[..., np.ndarray], mixed: Callable[[Split, Tensor], Tensor], weights: Tensor
) -> Callable[[Split], np.ndarray]:
    return lambda split: fitted(mixed(split, weights))[0]
