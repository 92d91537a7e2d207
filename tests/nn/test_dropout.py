"""Dropout with 16-bit random numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.nn.kernels.dropout import Dropout, draw_bit_mask, keep_probability


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5, 0.9])
def test_the_share_of_kept_elements_matches_the_rate(rate: float) -> None:
    torch.manual_seed(0)
    bit_mask = draw_bit_mask(torch.Size([1000, 1001]), rate)
    assert set(bit_mask.unique().tolist()) == {-1, 0}
    spread = (rate * (1 - rate) / bit_mask.numel()) ** 0.5
    assert abs((bit_mask != 0).double().mean().item() - (1 - rate)) < 5 * spread
    assert abs(keep_probability(rate) - (1 - rate)) < 2**-15


def test_neighbors_are_drawn_independently() -> None:
    torch.manual_seed(0)
    mask = -draw_bit_mask(torch.Size([1 << 20]), 0.5).double()
    for lag in (1, 2, 3, 4, 8, 624):
        both = (mask[lag:] * mask[:-lag]).mean().item()
        assert abs(both - 0.25) < 0.003, lag


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_kept_elements_and_their_gradients_are_scaled(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(7, 33).to(dtype).requires_grad_()
    y = Dropout(0.3)(x)
    assert y.dtype == dtype
    y.backward(torch.ones_like(y))
    mask = y != 0
    assert 0 < mask.sum() < mask.numel()
    torch.testing.assert_close(y[mask], (x / keep_probability(0.3))[mask])
    assert x.grad is not None
    torch.testing.assert_close(x.grad, mask.to(dtype) / keep_probability(0.3))


def test_the_same_seed_gives_the_same_mask() -> None:
    x, drop = torch.randn(50, 50), Dropout(0.2)
    torch.manual_seed(3)
    first, second = drop(x), drop(x)
    torch.manual_seed(3)
    assert torch.equal(drop(x), first) and not torch.equal(first, second)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_dropping_nothing_and_everything(rate: float) -> None:
    x = torch.randn(5, 6)
    assert torch.equal(Dropout(rate)(x), nn.Dropout(rate)(x))


def test_evaluation_changes_nothing() -> None:
    x = torch.randn(5, 6)
    assert torch.equal(Dropout(0.5).eval()(x), x)


def test_views_work_and_nan_is_not_hidden() -> None:
    """Kept elements stay NaN."""
    x = torch.full((64, 32), float("nan")).t()
    y = Dropout(0.5)(x)
    assert y.shape == x.shape and torch.isnan(y).any() and (y == 0).any()
