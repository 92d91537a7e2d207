"""Small networks on frozen features, as HEAR and X-ARES train them.

hear   HEAR 2021 (arXiv 2203.03022; heareval, task_predictions.py): one or two hidden layers of 1024 with BatchNorm,
       dropout .1 and ReLU; Adam, batches of 1024, at most 500 epochs. Every third epoch is scored on dev; training
       stops after 20 scores without a better one. Eight of the 16 settings below, drawn at random, are tried; the best
       on dev is kept.
xares  X-ARES (xares 0.1.3, models/simple.py and trainer.py): LayerNorm and one linear layer; Adam, batches of 32, ten
       epochs, learning rate from 1e-3 to 1e-4 along a cosine. The epoch that is best on dev is kept.

If the layer is chosen on dev too, it is chosen with the first setting and the first seed.

Legend: N items, D features, C classes, S seeds.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zoo.benchmarks.metrics import METRICS
from zoo.benchmarks.probe import ProbeConfig, ProbeResult, Split, check

HIDDEN = 1024
TRIED = 8  # settings of HEAR


@dataclass(frozen=True)
class Setting:
    """How one network is built and trained. hidden: number of hidden layers, or 0 for LayerNorm and one linear layer.

    decay: the learning rate of the last epoch is this share of the first one. every: epochs between two scores on dev.
    patience: scores without a better one before training stops; 0 = never.
    """

    hidden: int
    rate: float
    init: str = "uniform"
    epochs: int = 500
    every: int = 3
    patience: int = 20
    batch: int = 1024
    decay: float = 1.0


def settings(recipe: str) -> list[Setting]:
    """The settings that a recipe tries."""
    if recipe == "xares":
        return [Setting(0, 1e-3, epochs=10, every=1, patience=0, batch=32, decay=0.1)]
    grid = product((1, 2), (3.2e-3, 1e-3, 3.2e-4, 1e-4), ("uniform", "normal"))
    everything = [Setting(hidden, rate, init) for hidden, rate, init in grid]
    drawn = np.random.default_rng(42).permutation(len(everything))[:TRIED]
    return [everything[index] for index in drawn]


def network(
    train: Split, dev: Split, test: Split, layers: Sequence[int], config: ProbeConfig, *, recipe: str = "hear"
) -> ProbeResult:
    """Predictions (S, N) for test, with the layer and the setting that are best on dev.

    Raises ConfigError as probe.check does.
    """
    check(train, dev, test, config)
    tried = settings(recipe)
    score = METRICS[config.metric]

    def fit(layer: int, setting: Setting, seed: int) -> tuple[nn.Module, float]:
        x, on_dev = train.layers(layer).to(config.device), dev.layers(layer).to(config.device)
        return fit_network(x, train.targets, lambda net: score(predict(net, on_dev), dev.targets), setting, seed)

    curve = [fit(layer, tried[0], 0)[1] for layer in layers]
    layer = layers[int(np.argmax(curve))]
    of_settings = [fit(layer, setting, 0) for setting in tried]
    best = int(np.argmax([on_dev for _, on_dev in of_settings]))
    nets = [of_settings[best][0]]
    nets += [fit(layer, tried[best], seed)[0] for seed in range(1, config.seeds)]

    def predict_split(split: Split) -> np.ndarray:
        x = split.layers(layer).to(config.device)
        return np.stack([predict(net, x) for net in nets])

    outputs = predict_split(test)
    scores = np.array([score(seed, test.targets) for seed in outputs])
    chosen = {"setting": asdict(tried[best])}
    return ProbeResult(layer, None, outputs, scores, predict_split, curve, chosen=chosen)


def predict(net: nn.Module, features: Tensor) -> np.ndarray:
    """Class indices (N,) for features (N, D)."""
    with torch.inference_mode():
        return net(features).argmax(1).cpu().numpy()


def build(width: int, classes: int, setting: Setting) -> nn.Sequential:
    """A new network, from features (N, D) to scores of classes (N, C)."""
    if not setting.hidden:
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))
    init: Callable[..., Tensor] = getattr(nn.init, f"xavier_{setting.init}_")
    parts: list[nn.Module] = []
    gain = 1.0
    for _ in range(setting.hidden):
        linear = nn.Linear(width, HIDDEN)
        init(linear.weight, gain=gain)
        parts += [linear, nn.BatchNorm1d(HIDDEN), nn.Dropout(0.1), nn.ReLU()]
        width, gain = HIDDEN, math.sqrt(2)
    last = nn.Linear(width, classes)
    init(last.weight, gain=gain)
    return nn.Sequential(*parts, last)


def fit_network(
    features: Tensor, targets: np.ndarray, on_dev: Callable[[nn.Module], float], setting: Setting, seed: int
) -> tuple[nn.Module, float]:
    """Train a network; return it as it was when `on_dev` was highest, and that score.

    features (N, D), targets (N,): of train. on_dev: called with the network in evaluation mode.
    """
    y = torch.from_numpy(targets).to(features.device)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        net = build(features.shape[1], int(targets.max()) + 1, setting).to(features.device)
        optimizer = torch.optim.Adam(net.parameters(), lr=setting.rate)
        best, kept, since = -math.inf, copy.deepcopy(net), 0
        for epoch in range(setting.epochs):
            optimizer.param_groups[0]["lr"] = setting.rate * _share(epoch / setting.epochs, setting.decay)
            _train_epoch(net.train(), features, y, optimizer, setting)
            if (epoch + 1) % setting.every:
                continue
            score = on_dev(net.eval())
            since += 1
            if score > best:
                best, kept, since = score, copy.deepcopy(net), 0
            if setting.patience and since >= setting.patience:
                break
    return kept.eval(), best


def _share(progress: float, decay: float) -> float:
    """The learning rate as a share of the first one: a cosine from 1 to `decay`."""
    return decay + (1 - decay) * (1 + math.cos(math.pi * progress)) / 2


def _train_epoch(net: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer, setting: Setting) -> None:
    order = torch.randperm(len(x)).to(x.device)
    for rows in order.split(setting.batch):
        if len(rows) == 1 and setting.hidden:  # BatchNorm needs two
            continue
        optimizer.zero_grad()
        cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
