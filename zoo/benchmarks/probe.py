"""Linear probes for every layer, penalty and seed. Those of one layer train as one batch. Only dev decides the choice.

A seed is a random 90 % of the training groups (speakers, pieces; items if there are few groups). Seeds differ in the
training data only: the problem is convex and has one solution.

Legend: L layers, N items, D features, C outputs, R penalties, S seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.benchmarks.metrics import METRICS
from zoo.benchmarks.solver import LOSSES, Axes, minimize, product_with
from zoo.errors import ConfigError

PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
SHARE = 0.9  # of the training groups that a seed uses
_FEW_GROUPS = 10  # with fewer groups, a tenth of them is less than one
_LOSS = {"class": "softmax", "tags": "sigmoid", "value": "squared"}


@dataclass
class Split:
    """One of train, dev, test. layers(k): features (N, D) of layer k, float32. targets: class indices (N,); zeros and
    ones (N, C) for tags; numbers (N, C) for value. groups (N,): the speaker or piece of each item."""

    layers: Callable[[int], Tensor]
    targets: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class ProbeConfig:
    """kind: "class", "tags" or "value". metric: a name in zoo.benchmarks.metrics. penalties: factors of |W|^2 / 2,
    added to the mean loss on standardized features. balanced: all classes have the same weight in the loss."""

    kind: str = "class"
    metric: str = "accuracy"
    penalties: tuple[float, ...] = PENALTIES
    seeds: int = 5
    balanced: bool = False
    device: str = "cpu"

    @property
    def loss(self) -> str:
        """The name of the loss in zoo.benchmarks.solver."""
        return _LOSS[self.kind]

    def __post_init__(self) -> None:
        if self.kind not in _LOSS:
            raise ConfigError(f"probe kind {self.kind!r}: choose one of {', '.join(_LOSS)}")
        if self.metric not in METRICS:
            raise ConfigError(f"metric {self.metric!r}: choose one of {', '.join(METRICS)}")
        if self.seeds < 1 or not self.penalties or min(self.penalties) <= 0:
            raise ConfigError("a probe needs at least one seed and penalties above 0")
        if self.balanced and self.kind != "class":
            raise ConfigError("balanced: only classes can be balanced")


@dataclass
class ProbeResult:
    """layer, penalty: best on dev. outputs: class indices (S, N), or values (S, N, C), on test. scores (S,): on test.

    dev, test (L,): mean score over seeds, with each layer's best penalty on dev; for curves. The test score never
    decides a choice. predict: function from another split to its outputs. weights (L,): learned weights of the layers,
    if any; `layer` is then the one with the largest weight. chosen: what else was chosen on dev, by name. penalty: None
    for classifiers without one.
    """

    layer: int
    penalty: float | None
    outputs: np.ndarray
    scores: np.ndarray
    predict: Callable[[Split], np.ndarray]
    dev: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    chosen: dict[str, Any] = field(default_factory=dict)


def probe(train: Split, dev: Split, test: Split, layers: Sequence[int], config: ProbeConfig) -> ProbeResult:
    """Train all probes, choose layer and penalty by the mean dev score over seeds, and apply that probe to test.

    Raises ConfigError if train has one class only, or if dev or test is empty.
    """
    check(train, dev, test, config)
    weights = seed_weights(train, config)  # (S, N)
    metric = METRICS[config.metric]
    best: ProbeResult | None = None
    best_dev, curves = -np.inf, ([], [])  # type: ignore[var-annotated]
    for layer in layers:
        fitted = fit_layer(train.layers(layer), train.targets, weights, config)
        on_dev = fitted(dev.layers(layer))  # (R, S, N[, C])
        scores = np.array([[metric(seed, dev.targets) for seed in penalty] for penalty in on_dev]).mean(1)  # (R,)
        scores = np.nan_to_num(scores, nan=-np.inf)  # NaN is worse than any score
        chosen = int(scores.argmax())
        outputs = fitted(test.layers(layer), chosen)[0]  # (S, N[, C])
        on_test = np.array([metric(seed, test.targets) for seed in outputs])
        curves[0].append(float(scores[chosen]))
        curves[1].append(float(on_test.mean()))
        if best is None or scores[chosen] > best_dev:
            best_dev = scores[chosen]
            best = ProbeResult(layer, config.penalties[chosen], outputs, on_test, _predictor(fitted, layer, chosen))
    assert best is not None
    best.dev, best.test = curves
    return best


def fit_layer(
    features: Tensor, targets: np.ndarray, weights: np.ndarray, config: ProbeConfig
) -> Callable[..., np.ndarray]:
    """Train all probes of one layer. Returns a function from features (N, D) to outputs: classes (R, S, N) or scores
    (R, S, N, C).

    Its second argument r selects penalty r. Every seed starts from the solution on all training items, which costs
    little.
    """
    loss = LOSSES[config.loss]
    x = features.to(config.device, torch.float32)
    center = x.mean(0)
    x = x - center
    scale = x.square().mean(0).sqrt()
    scale = torch.where(scale > 1e-6 * center.abs() + 1e-12, scale, torch.inf)  # drop constant features
    axes = Axes(x / scale)
    target, shift, unit = target_matrix(targets, config)
    target = target.to(x.device)
    penalties = torch.tensor(config.penalties, device=x.device)
    rows = torch.from_numpy(weights).to(x.device)  # (S, N)
    seeds = len(rows)
    common = rows.mean(0, keepdim=True).expand(len(penalties), -1)
    start = minimize(axes, target, common, penalties, loss)  # (R, C, K)
    w = minimize(
        axes,
        target,
        rows.repeat(len(penalties), 1),
        penalties.repeat_interleave(seeds),
        loss,
        start=start.repeat_interleave(seeds, dim=0),
    )
    w = axes.unrotate(w).unflatten(0, (len(penalties), seeds))  # (R, S, C, D + 1)

    @torch.no_grad()
    def apply(items: Tensor, only: int | None = None) -> np.ndarray:
        y = (items.to(x.device, torch.float32) - center) / scale
        chosen = w if only is None else w[only : only + 1]
        heads = chosen.flatten(0, 2)  # (R S C, D + 1)
        z = (product_with(heads[:, :-1].contiguous())(y) + heads[:, -1]).unflatten(1, chosen.shape[:3])  # (N, R, S, C)
        z = z.permute(1, 2, 0, 3)  # (R, S, N, C)
        return z.argmax(-1).cpu().numpy() if config.kind == "class" else z.cpu().numpy() * unit + shift

    return apply


def seed_weights(train: Split, config: ProbeConfig) -> np.ndarray:
    """Item weights of each seed (S, N), float32, with rows that sum to 1. balanced: all classes weigh the same.

    Every seed has at least one item of every class.
    """
    units = train.groups if len(np.unique(train.groups)) >= _FEW_GROUPS else np.arange(len(train.groups))
    names, unit = np.unique(units, return_inverse=True)
    rows = np.zeros((config.seeds, len(unit)), dtype=np.float32)
    for seed in range(config.seeds):
        order = np.random.default_rng(seed).permutation(len(names))
        selected = np.zeros(len(names), dtype=bool)
        selected[order[: max(1, round(SHARE * len(names)))]] = True
        row = selected[unit].astype(np.float32)
        if config.kind == "class":
            counts = np.bincount(train.targets, row)
            row[np.isin(train.targets, np.flatnonzero(counts == 0))] = 1.0
            if config.balanced:
                row /= np.bincount(train.targets, row)[train.targets]
        rows[seed] = row / row.sum()
    return rows


def target_matrix(targets: np.ndarray, config: ProbeConfig) -> tuple[Tensor, np.ndarray | float, np.ndarray | float]:
    """Targets (C, N) for the solver, and the shift and unit that convert outputs back to the scale of the targets."""
    if config.kind == "class":
        return torch.from_numpy(np.eye(int(targets.max()) + 1, dtype=np.float32)[targets].T.copy()), 0.0, 1.0
    if config.kind == "tags":
        return torch.from_numpy(targets.T.astype(np.float32).copy()), 0.0, 1.0
    shift, unit = targets.mean(0), targets.std(0)
    unit = np.where(unit > 0, unit, 1.0)
    return torch.from_numpy(((targets - shift) / unit).T.astype(np.float32).copy()), shift, unit


def _predictor(fitted: Callable[..., np.ndarray], layer: int, penalty: int) -> Callable[[Split], np.ndarray]:
    return lambda split: fitted(split.layers(layer), penalty)[0]


def check(train: Split, dev: Split, test: Split, config: ProbeConfig) -> None:
    """Raises ConfigError if no probe can be trained or tested on these splits."""
    for name, split in (("train", train), ("dev", dev), ("test", test)):
        if not len(split.targets):
            raise ConfigError(f"the {name} split has no items")
    if config.kind == "class" and len(np.unique(train.targets)) < 2:
        raise ConfigError("the train split has one class only; there is nothing to learn")
    if config.kind == "class" and not np.isin(np.concatenate([dev.targets, test.targets]), train.targets).all():
        raise ConfigError("dev or test has a class that train lacks; remove those items first")
    if config.kind == "value" and not (np.ptp(train.targets, axis=0) > 0).all():
        raise ConfigError("the value to predict is the same for all items of train")
