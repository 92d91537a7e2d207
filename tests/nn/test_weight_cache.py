"""Packed and folded weights follow the weights, also where torch leaves no trace of a change."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from small import noise, small, structures
from torch import Tensor

from zoo.encoder import Encoder
from zoo.nn.conv2d import ConvNorm
from zoo.nn.linear import Linear
from zoo.nn.weight_cache import WeightCache

Write = Callable[[Tensor], None]


def swap(weight: Tensor) -> None:
    weight.data = torch.roll(weight.data, 1, 0) + 0.01


def move_average(weight: Tensor) -> None:
    weight.data.lerp_(torch.zeros_like(weight), 0.01)


def merge_low_rank(weight: Tensor) -> None:
    if weight.dim() == 2:
        weight.data += 0.01 * torch.ones(len(weight), 1) @ torch.ones(1, weight.shape[1])


def clip(weight: Tensor) -> None:
    """Changes the largest element only."""
    order = weight.data.flatten().sort().values
    weight.data.clamp_(max=float(order[-2:].mean()))


def clip_below(weight: Tensor) -> None:
    order = weight.data.flatten().sort().values
    weight.data.clamp_(min=float(order[:2].mean()))


def prune(weight: Tensor) -> None:
    """Changes the smallest tenth of the elements."""
    sizes = weight.data.abs().float()
    weight.data[sizes <= sizes.flatten().quantile(0.1)] = 0.0


WRITES = [swap, move_average, merge_low_rank, clip, clip_below, prune]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("name", structures())
def test_models_see_writes_to_data(name: str, write: Write) -> None:
    model = small(name)
    clip_of_noise = noise(1.0)
    before = model.embed(clip_of_noise, 16_000)
    for weight in model.parameters():
        write(weight)
    fresh = copy.deepcopy(model)  # starts with empty caches
    after = model.embed(clip_of_noise, 16_000)
    assert torch.equal(after, fresh.embed(clip_of_noise, 16_000))
    has_weights = next(model.parameters(), None) is not None
    assert not has_weights or not torch.equal(after, before)


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_write_to_a_large_weight_is_seen(write: Write, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    linear = Linear(512, 384).to(dtype)
    x = torch.randn(5, 512, dtype=dtype)
    with torch.no_grad():
        linear(x)
        write(linear.weight)
        assert torch.equal(linear(x), copy.deepcopy(linear)(x))


@torch.no_grad()
def test_statistics_and_gains_of_a_convolution_are_seen() -> None:
    torch.manual_seed(0)
    layer = ConvNorm(8, 8, 3).eval()
    x = torch.randn(2, 8, 6, 6)
    for tensor in (layer.norm.weight, layer.norm.bias, layer.norm.running_mean, layer.norm.running_var):
        assert tensor is not None
        layer(x)
        tensor.data[3] += 0.5
        assert torch.equal(layer(x), copy.deepcopy(layer)(x))


def test_the_value_is_computed_once_while_nothing_changes() -> None:
    cache: WeightCache[float] = WeightCache()
    weight = torch.randn(300, 40)
    calls: list[int] = []

    def make() -> float:
        calls.append(1)
        return float(weight.sum())

    values = [cache.get((weight,), make) for _ in range(3)]
    assert len(calls) == 1 and len(set(values)) == 1
    weight.data = weight.to(torch.bfloat16)
    cache.get((weight,), make)
    assert len(calls) == 2
    cache.clear()
    assert cache.is_empty


@pytest.mark.parametrize("name", ["hubert-base"])
def test_an_average_of_weights_can_be_swapped_in_and_out(name: str) -> None:
    """What trainers do before and after validation, with tensors of their own."""
    model: Encoder = small(name)
    wave = noise(1.0)
    trained = model.embed(wave, 16_000)
    kept = {key: weight.data for key, weight in model.named_parameters()}
    averages = {key: weight * 0.9 for key, weight in kept.items()}
    for key, weight in model.named_parameters():
        weight.data = averages[key]
    averaged = model.embed(wave, 16_000)
    assert not torch.equal(averaged, trained)
    for key, weight in model.named_parameters():
        weight.data = kept[key]
    assert torch.equal(model.embed(wave, 16_000), trained)
