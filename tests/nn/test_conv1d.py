"""Channels-last convolutions and their gradients, against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from zoo.nn.kernels.conv1d import channels_last, conv_channels_last

SHAPES = [(31, 3, 2), (30, 3, 2), (17, 2, 2), (16, 2, 2), (40, 5, 2), (40, 5, 1), (3, 3, 2), (23, 2, 5), (12, 1, 1)]


def _draw(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """The same numbers in every format, up to rounding."""
    return torch.randn(shape, dtype=torch.float64).to(dtype).requires_grad_()


def _both(
    frames: int, taps: int, stride: int, bias: bool, dtype: torch.dtype
) -> list[tuple[torch.Tensor, list[torch.Tensor]]]:
    """Output and gradients: ours, and PyTorch's."""
    torch.manual_seed(0)
    x = _draw(dtype, 3, frames, 8)
    weight = _draw(dtype, 16, 8, taps)
    b = _draw(dtype, 16) if bias else None
    ours = conv_channels_last(x, channels_last(weight), b, stride)
    plain = F.conv1d(x.transpose(1, 2), weight, b, stride).transpose(1, 2)
    scale = _draw(dtype, *plain.shape).detach()
    inputs = [x, weight] + ([] if b is None else [b])
    return [(y, list(torch.autograd.grad((y * scale).sum(), inputs))) for y in (ours, plain)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("frames", "taps", "stride"), SHAPES)
def test_output_and_gradients_equal_conv1d(frames: int, taps: int, stride: int, bias: bool, dtype: torch.dtype) -> None:
    (y, gradients), (expected_y, expected_gradients) = _both(frames, taps, stride, bias, dtype)
    torch.testing.assert_close(y, expected_y, atol=1e-4, rtol=1e-4)
    for a, b in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("frames", "taps", "stride"), SHAPES)
def test_bfloat16_gradients_are_close_to_float64(frames: int, taps: int, stride: int) -> None:
    (_, gradients), _ = _both(frames, taps, stride, True, torch.bfloat16)
    _, (_, exact) = _both(frames, taps, stride, True, torch.float64)
    for a, b in zip(gradients, exact, strict=True):
        assert a.dtype == torch.bfloat16
        assert torch.cosine_similarity(a.double().flatten(), b.flatten(), dim=0) > 0.9999


def test_autocast_convolves_in_bfloat16_and_keeps_gradients_in_float32() -> None:
    x, weight = torch.randn(2, 20, 8, requires_grad=True), torch.randn(16, 8, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv_channels_last(x, channels_last(weight), None, 2)
    y.float().sum().backward()
    assert y.dtype == torch.bfloat16
    assert x.grad is not None and weight.grad is not None and x.grad.dtype == weight.grad.dtype == torch.float32


@pytest.mark.parametrize("frozen", ["input", "weight"])
def test_frozen_tensors_get_no_gradient(frozen: str) -> None:
    x, weight = torch.randn(2, 20, 8), torch.randn(16, 8, 3)
    trained = (weight if frozen == "input" else x).requires_grad_()
    conv_channels_last(x, channels_last(weight), None, 2).sum().backward()
    assert trained.grad is not None and (x if frozen == "input" else weight).grad is None
