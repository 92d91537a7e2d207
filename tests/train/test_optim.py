"""Learning rates, groups, normalization."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from zoo.errors import ConfigError
from zoo.nn.linear import Linear
from zoo.train.optim import Group, Optimizer, Schedule, TrainConfig, schedule


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (Schedule.linear, {1: 0.1, 10: 1, 20: 1, 60: 0.55, 100: 0.1}),
        (Schedule.cosine, {1: 0.1, 10: 1, 20: 1, 60: 0.55, 100: 0.1}),
        (Schedule.constant, {5: 0.5, 10: 1, 60: 1, 100: 1}),
        (Schedule.tri_stage, {5: 0.5, 10: 1, 20: 1, 60: math.sqrt(0.1), 100: 0.1}),
    ],
)
def test_schedules_at_known_points(shape: Schedule, expected: dict[int, float]) -> None:
    config = TrainConfig(steps=100, warmup=0.1, hold=0.1, final=0.1, schedule=shape)
    assert {step: schedule(config, step) for step in expected} == pytest.approx(expected)


@pytest.mark.parametrize("shape", Schedule)
def test_a_single_step_learns(shape: Schedule) -> None:
    assert schedule(TrainConfig(steps=1, final=0.01, schedule=shape), 1) == 1


@given(st.sampled_from(Schedule), st.integers(1, 50), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0.01, 1))
def test_schedules_rise_once_and_fall_once(shape: Schedule, steps: int, warm: float, hold: float, final: float) -> None:
    config = TrainConfig(steps=steps, warmup=warm, hold=hold, final=final, schedule=shape)
    rates = [schedule(config, step) for step in range(1, steps + 1)]
    peak = rates.index(max(rates))
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:peak] == sorted(rates[:peak])
    assert all(a >= b - 1e-12 for a, b in zip(rates[peak:], rates[peak + 1 :], strict=False))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps 0"),
        ({"warmup": 0.7, "hold": 0.4}, "warmup 0.7, hold 0.4"),
        ({"schedule": Schedule.tri_stage}, "final 0.0"),
        ({"keep": 0}, "keep 0: must be at least 1"),
        ({"learning_rate": -1.0}, "learning_rate -1: must be at least 0"),
        ({"learning_rate": math.nan}, "learning_rate nan: must be"),
        ({"clip_norm": 0.0}, "clip_norm 0: must be more than 0"),
        ({"weight_decay": -0.1}, "weight_decay -0.1: must be at least 0"),
        ({"beta2": 2.0}, "beta2 2: must be at least 0 and at most 1"),
        ({"seed": -1}, "seed -1: must be at least 0"),
    ],
)
def test_impossible_configurations(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**values)


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"body": nn.Linear(3, 4), "head": nn.Linear(4, 2)})


def test_vectors_do_not_decay_and_a_frozen_group_does_not_move() -> None:
    net = model()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    config = TrainConfig(steps=10, warmup=0, learning_rate=0.1, weight_decay=0.5, schedule=Schedule.constant)
    optimizer = Optimizer(net, config, [Group("body.", start=2), Group("head.", scale=0.5)])

    def step(number: int) -> None:
        for p in net.parameters():
            p.grad = torch.zeros_like(p)
        optimizer.set_step(number)
        optimizer.step()

    step(1)
    step(2)
    assert torch.equal(net["body"].weight, before["body.weight"])
    assert torch.allclose(net["head"].weight, before["head.weight"] * (1 - 0.1 * 0.5 * 0.5) ** 2)
    assert torch.equal(net["head"].bias, before["head.bias"])
    step(3)
    assert torch.allclose(net["body"].weight, before["body.weight"] * (1 - 0.1 * 0.5))


@pytest.mark.parametrize("clip", [None, 0.5])
def test_gradients_become_those_of_the_mean_and_are_clipped(clip: float | None) -> None:
    net = model()
    optimizer = Optimizer(net, TrainConfig(clip_norm=clip))
    grads = [torch.randn_like(p) for p in net.parameters()]
    for p, grad in zip(net.parameters(), grads, strict=True):
        p.grad = grad.clone()
    net["head"].bias.grad = None
    norm = optimizer.divide_gradients(torch.tensor(4.0, dtype=torch.float64))
    used = grads[:-1]
    expected = torch.cat([g.flatten() for g in used]).norm() / 4
    assert float(norm) == pytest.approx(float(expected))
    scale = 0.25 * (1 if clip is None else min(1, clip / float(expected)))
    for p, grad in zip(list(net.parameters())[:-1], used, strict=True):
        assert torch.allclose(p.grad, grad * scale, rtol=1e-5)


def test_a_count_of_zero_changes_nothing() -> None:
    net = model()
    optimizer = Optimizer(net, TrainConfig())
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    assert float(optimizer.divide_gradients(torch.tensor(0.0, dtype=torch.float64))) == 0
    assert all(not p.grad.any() for p in net.parameters())


def test_inference_sees_every_step() -> None:
    """Linear layers keep a packed copy of their weight for inference."""
    torch.manual_seed(0)
    layer = Linear(8, 8)
    optimizer = Optimizer(layer, TrainConfig(steps=4, warmup=0, learning_rate=0.1))
    x = torch.randn(2, 8)
    for step in range(1, 4):
        with torch.no_grad():
            torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))
        layer(x).sum().backward()
        optimizer.set_step(step)
        optimizer.step()
        optimizer.zero_grad()


def test_the_state_returns_by_name() -> None:
    first, second = model(), model()
    optimizers = [Optimizer(net, TrainConfig()) for net in (first, second)]
    for p in first.parameters():
        p.grad = torch.ones_like(p)
    first["head"].bias.grad = None
    optimizers[0].step()
    assert "head.bias/exp_avg" not in optimizers[0].tensors() and "head.weight/exp_avg" in optimizers[0].tensors()
    optimizers[1].load((key, value.clone()) for key, value in optimizers[0].tensors().items())
    second.load_state_dict(first.state_dict())
    for net, optimizer in zip((first, second), optimizers, strict=True):
        for p in net.parameters():
            p.grad = torch.full_like(p, 0.3)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_nothing_to_train() -> None:
    with pytest.raises(ConfigError, match="nothing to train"):
        Optimizer(model().requires_grad_(False), TrainConfig())
