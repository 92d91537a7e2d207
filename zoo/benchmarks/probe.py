"""Linear probes: every layer x every penalty x every seed, trained as one batch a layer, chosen on dev alone.

A seed is a random 90 % of the training groups (speakers, pieces; items where there are few groups): what differs from
seed to seed is what the probe learned from, since the problem itself is convex and has one solution.

Legend: L layers, N items, D features, C outputs, R penalties, S seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from zoo.benchmarks.metrics import METRICS
from zoo.benchmarks.solver import LOSSES, Axes, minimize, product_with
from zoo.errors import ConfigError

PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
SHARE = 0.9  # of the training groups that a seed learns from
_FEW_GROUPS = 10  # with fewer, leaving a tenth of them out is not possible
_LOSS = {"class": "softmax", "tags": "sigmoid", "value": "squared"}


@dataclass
class Split:
    """One of train, dev, test. layers(k): features (N, D) of layer k, float32. targets: class numbers (N,), or (N, C)
    of zeros and ones (tags) or of numbers (value). groups (N,): which speaker or piece an item belongs to."""

    layers: Callable[[int], Tensor]
    targets: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class ProbeConfig:
    """kind: "class", "tags" or "value". metric: of zoo.benchmarks.metrics. penalties: on |W|^2 / 2, of the mean loss
    over standardized features. balanced: each class weighs the same in the loss."""

    kind: str = "class"
    metric: str = "accuracy"
    penalties: tuple[float, ...] = PENALTIES
    seeds: int = 5
    balanced: bool = False
    device: str = "cpu"

    @property
    def loss(self) -> str:
        """Of zoo.benchmarks.solver."""
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
    """layer, penalty: the best on dev. outputs (S, N) class numbers, or (S, N, C), on test. scores (S,) on test.

    dev, test (L,): mean score over seeds at each layer's best penalty on dev. For curves; nothing is chosen by test.
    predict: from another split to its outputs. weights (L,): of the layers, where they were learned; `layer` is then
    the heaviest.
    """

    layer: int
    penalty: float
    outputs: np.ndarray
    scores: np.ndarray
    predict: Callable[[Split], np.ndarray]
    dev: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)


def probe(train: Split, dev: Split, test: Split, layers: Sequence[int], config: ProbeConfig) -> ProbeResult:
    """Train all probes, choose layer and penalty by the mean dev score over seeds, apply that one to test.

    Raises ConfigError where train has one class only, or dev or test is empty.
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
        scores = np.nan_to_num(scores, nan=-np.inf)  # no number is worse than any
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
    """All probes of one layer -> a function from features (N, D) to outputs (R, S, N) classes or (R, S, N, C) scores.

    Called with a second argument r, it gives penalty r alone. The solution on all training items, which costs a
    fraction of the rest, is where every seed starts.
    """
    loss = LOSSES[config.loss]
    x = features.to(config.device, torch.float32)
    center = x.mean(0)
    x = x - center
    scale = x.square().mean(0).sqrt()
    scale = torch.where(scale > 1e-6 * center.abs() + 1e-12, scale, torch.inf)  # a constant says nothing
    axes = Axes(x / scale)
    wanted, shift, unit = target_matrix(targets, config)
    wanted = wanted.to(x.device)
    penalties = torch.tensor(config.penalties, device=x.device)
    rows = torch.from_numpy(weights).to(x.device)  # (S, N)
    seeds = len(rows)
    common = rows.mean(0, keepdim=True).expand(len(penalties), -1)
    start = minimize(axes, wanted, common, penalties, loss)  # (R, C, K)
    w = minimize(
        axes,
        wanted,
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
    """(S, N) float32, rows sum to 1: each seed's share of the items, every class weighing the same if balanced.

    Every class keeps an item in every seed.
    """
    units = train.groups if len(np.unique(train.groups)) >= _FEW_GROUPS else np.arange(len(train.groups))
    names, unit = np.unique(units, return_inverse=True)
    rows = np.zeros((config.seeds, len(unit)), dtype=np.float32)
    for seed in range(config.seeds):
        order = np.random.default_rng(seed).permutation(len(names))
        kept = np.zeros(len(names), dtype=bool)
        kept[order[: max(1, round(SHARE * len(names)))]] = True
        row = kept[unit].astype(np.float32)
        if config.kind == "class":
            counts = np.bincount(train.targets, row)
            row[np.isin(train.targets, np.flatnonzero(counts == 0))] = 1.0
            if config.balanced:
                row /= np.bincount(train.targets, row)[train.targets]
        rows[seed] = row / row.sum()
    return rows


def target_matrix(targets: np.ndarray, config: ProbeConfig) -> tuple[Tensor, np.ndarray | float, np.ndarray | float]:
    """Targets (C, N) for the solver, and what turns outputs back into the targets' units: shift, unit."""
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
    """Raises ConfigError where these splits leave nothing to learn or to ask."""
    for name, split in (("train", train), ("dev", dev), ("test", test)):
        if not len(split.targets):
            raise ConfigError(f"the {name} split has no items")
    if config.kind == "class" and len(np.unique(train.targets)) < 2:
        raise ConfigError("the train split has one class only; there is nothing to learn")
    if config.kind == "class" and not np.isin(np.concatenate([dev.targets, test.targets]), train.targets).all():
        raise ConfigError("dev or test holds a class that train lacks; leave those items out first")
    if config.kind == "value" and not (np.ptp(train.targets, axis=0) > 0).all():
        raise ConfigError("the value to predict is the same for all items of train")
