"""Convolution with batch normalization: folded and fused in inference, PyTorch's own operators otherwise."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.nn import conv2d
from zoo.nn.conv2d import ConvNorm


def random_layer(inputs: int = 6, outputs: int = 16, kernel: int = 3, stride: tuple[int, int] = (1, 1)) -> ConvNorm:
    torch.manual_seed(0)
    layer = ConvNorm(inputs, outputs, kernel, stride).eval()
    with torch.no_grad():
        for tensor in (layer.norm.weight, layer.norm.bias, layer.norm.running_mean):
            tensor.normal_()
        layer.norm.running_var.uniform_(0.2, 3)
    return layer


def plain(layer: ConvNorm, x: Tensor, residual: Tensor | None, relu: bool) -> Tensor:
    """The definition, in float64."""
    conv, norm = layer.conv, layer.norm
    y = F.conv2d(x.double(), conv.weight.double(), None, conv.stride, conv.padding)
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    y = F.batch_norm(y, mean, variance, norm.weight.double(), norm.bias.double(), eps=norm.eps)
    y = y if residual is None else y + residual.double()
    return (y.relu() if relu else y).detach()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("with_residual", [True, False])
@pytest.mark.parametrize(
    ("inputs", "kernel", "stride"), [(6, 3, (1, 1)), (6, 1, (2, 2)), (1, 7, (2, 1)), (16, 3, (2, 2))]
)
def test_inference_equals_the_definition(
    monkeypatch: pytest.MonkeyPatch,
    inputs: int,
    kernel: int,
    stride: tuple[int, int],
    with_residual: bool,
    relu: bool,
    fused: bool,
) -> None:
    if not fused:
        monkeypatch.setattr(conv2d, "_CAN_FUSE", False)
    layer = random_layer(inputs, 16, kernel, stride)
    x = torch.randn(3, inputs, 21, 10).contiguous(memory_format=torch.channels_last)
    residual = None
    if with_residual:
        residual = torch.randn_like(layer.conv(x)).contiguous(memory_format=torch.channels_last)
    expected = plain(layer, x, residual, relu)
    torch.testing.assert_close(layer(x, residual, relu=relu).double(), expected, atol=1e-5, rtol=1e-5)
    before = x.clone()
    with torch.no_grad():
        y = layer(x, residual, relu=relu)
    assert not fused or y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x, before)
    torch.testing.assert_close(y.double(), expected, atol=1e-5, rtol=1e-5)


def test_bfloat16_rounds_the_folded_weights_once() -> None:
    layer = random_layer(16, 32)
    x = torch.randn(2, 16, 20, 8).bfloat16()
    expected = plain(layer, x, None, True)
    with torch.no_grad():
        y = layer.bfloat16()(x)
    assert y.dtype == torch.bfloat16
    assert torch.cosine_similarity(y.double().flatten(), expected.flatten(), dim=0) > 0.9999


def test_folded_weights_are_updated_after_every_change() -> None:
    layer = random_layer()
    x = torch.randn(2, 6, 9, 9)

    def check() -> None:
        expected = plain(layer, x, None, True)
        with torch.no_grad():
            torch.testing.assert_close(layer(x).double(), expected, atol=1e-4, rtol=1e-4)

    check()
    with torch.no_grad():
        layer.conv.weight.mul_(2)
    check()
    with torch.no_grad():
        layer.norm.running_mean.add_(1)
    check()
    layer.train()
    layer(x * 3 + 1)  # moves the running statistics
    layer.eval()
    check()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)  # it does not change tensor versions
    layer(x).square().sum().backward()
    optimizer.step()
    check()
    for assign in (False, True):
        layer.load_state_dict(
            {k: torch.rand_like(v.float()).to(v) for k, v in layer.state_dict().items()}, assign=assign
        )
        check()
    layer.to(torch.bfloat16).to(torch.float32)
    check()


def test_copies_and_pickles_start_without_folded_weights() -> None:
    layer = random_layer()
    x = torch.randn(1, 6, 5, 5)
    with torch.no_grad():
        expected = layer(x)
        for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert other._folded.is_empty
            assert torch.equal(other(x), expected)
    assert set(layer.state_dict()) == {"conv.weight", *(f"norm.{name}" for name in layer.norm.state_dict())}


def test_training_normalizes_by_the_batch() -> None:
    layer = random_layer().train()
    with torch.no_grad():
        y = layer(torch.randn(8, 6, 12, 12), relu=False)
    torch.testing.assert_close(y.mean((0, 2, 3)), layer.norm.bias.detach(), atol=1e-4, rtol=1e-4)


def test_all_rows_real_is_plain_batch_normalization() -> None:
    """Values, gradients and running statistics."""
    unmasked, masked = random_layer().train(), random_layer().train()
    x = torch.randn(3, 6, 9, 5)
    expected, ours = unmasked(x), masked(x, rows=torch.full((3,), 9))
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn_like(ours)
    for y in (expected, ours):
        (y * weights).sum().backward()
    torch.testing.assert_close(masked.conv.weight.grad, unmasked.conv.weight.grad, atol=1e-4, rtol=1e-4)
    for name, tensor in unmasked.norm.state_dict().items():
        torch.testing.assert_close(masked.norm.state_dict()[name], tensor, atol=1e-5, rtol=1e-5)


def test_padded_rows_do_not_change_statistics() -> None:
    layer, unpadded = random_layer(kernel=1, stride=(2, 2)).train(), random_layer(kernel=1, stride=(2, 2)).train()
    x = torch.randn(2, 6, 10, 4)
    x[:, :, 7:] = 1e3
    y, expected = layer(x, rows=torch.tensor([7, 7])), unpadded(x[:, :, :7])
    torch.testing.assert_close(y[:, :, :4], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer.norm.running_var, unpadded.norm.running_var)
