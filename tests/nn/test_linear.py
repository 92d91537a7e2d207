"""Packed and int8 linear layers."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

from zoo.nn.linear import Int8Linear, Linear, quantize_linears


@pytest.fixture
def linear() -> Linear:
    torch.manual_seed(0)
    return Linear(96, 160)


@pytest.mark.parametrize("shape", [(96,), (1, 96), (7, 96), (3, 50, 96), (2, 2, 2, 96), (0, 96)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2**-7)])
def test_packed_linear_equals_plain_linear(
    linear: Linear, shape: tuple[int, ...], dtype: torch.dtype, tolerance: float
) -> None:
    x = torch.randn(shape, dtype=dtype)
    linear.to(dtype)
    with torch.no_grad():
        packed = linear(x)
    assert packed.shape == (*shape[:-1], 160) and packed.dtype == dtype
    torch.testing.assert_close(packed, F.linear(x, linear.weight, linear.bias), atol=tolerance, rtol=tolerance)


def test_packed_copy_is_updated_with_the_weight(linear: Linear) -> None:
    x = torch.randn(5, 96)

    def check() -> None:
        with torch.no_grad():
            torch.testing.assert_close(linear(x), F.linear(x, linear.weight, linear.bias), atol=1e-5, rtol=1e-5)

    check()
    with torch.no_grad():
        linear.weight.mul_(2)
    check()
    linear.load_state_dict({"weight": torch.randn(160, 96), "bias": torch.randn(160)})
    check()
    linear.load_state_dict({"weight": torch.randn(160, 96), "bias": torch.randn(160)}, assign=True)
    check()
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
    linear(x).square().sum().backward()
    optimizer.step()
    check()
    linear.to(torch.bfloat16).to(torch.float32)
    check()


@pytest.mark.parametrize("fused", [False, True])
def test_packed_copy_is_updated_by_every_optimizer(linear: Linear, fused: bool) -> None:
    """A fused step changes weights without a new version."""
    x, optimizer = torch.randn(5, 96), torch.optim.AdamW(linear.parameters(), lr=0.1, fused=fused)
    for _ in range(3):
        with torch.no_grad():
            torch.testing.assert_close(linear(x), F.linear(x, linear.weight, linear.bias), atol=1e-5, rtol=1e-5)
        linear(x).square().sum().backward()
        optimizer.step()


def test_copies_and_pickles_do_not_carry_the_packed_weight(linear: Linear) -> None:
    x = torch.randn(5, 96)
    with torch.no_grad():
        expected = linear(x)
        for other in (copy.deepcopy(linear), pickle.loads(pickle.dumps(linear))):
            assert other._packed_linear._packed.is_empty
            assert torch.equal(other(x), expected)
    assert set(linear.state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("view", ["dense", "first frames", "transposed"])
def test_training_in_fp32_equals_plain_linear_with_its_gradients(bias: bool, view: str) -> None:
    torch.manual_seed(0)
    linear = Linear(96, 160, bias)
    base = torch.randn(3, 50, 96).transpose(0, 1) if view == "transposed" else torch.randn(3, 50, 96)
    base = base[:, :20] if view == "first frames" else base
    x, plain = base.detach().requires_grad_(), base.detach().clone().requires_grad_()
    y, expected = linear(x), F.linear(plain, linear.weight, linear.bias)
    assert "Train" in type(y.grad_fn).__name__
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn_like(expected)
    gradients = torch.autograd.grad((y * weights).sum(), [x, *linear.parameters()])
    expected_gradients = torch.autograd.grad((expected * weights).sum(), [plain, *linear.parameters()])
    for a, b in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [(96,), (0, 96)])
def test_single_and_no_rows_have_gradients_too(linear: Linear, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, requires_grad=True)
    linear(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, linear.weight.sum(0).expand(shape))


def test_autocast_casts_in_training(linear: Linear) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(torch.randn(5, 96)).dtype == torch.bfloat16


def test_int8_is_close_and_row_by_row(linear: Linear) -> None:
    x = torch.randn(40, 96) * torch.logspace(-3, 3, 40)[:, None]
    quantized = Int8Linear.from_linear(linear)
    exact, rough = F.linear(x, linear.weight), quantized(x) - linear.bias
    assert torch.cosine_similarity(exact, rough, dim=-1).min() > 0.999
    by_row = torch.cat([quantized(row[None]) for row in x])
    assert torch.equal(by_row, quantized(x)), "the result of a row must not depend on the other rows"
    assert torch.isfinite(quantized(torch.zeros(3, 96))).all()


def test_int8_keeps_the_sign_of_the_largest_value_in_bfloat16() -> None:
    """In some of many rows, the rounding of the step moves the largest value beyond 127."""
    linear = Linear(96, 32, bias=False).bfloat16()
    x = torch.randn(2000, 96).bfloat16()
    exact, rough = F.linear(x.float(), linear.weight.float()), Int8Linear.from_linear(linear)(x).float()
    assert torch.cosine_similarity(exact, rough, dim=-1).min() > 0.999


def test_quantize_linears_replaces_every_linear() -> None:
    module = torch.nn.Sequential(Linear(8, 16), torch.nn.ReLU(), torch.nn.Sequential(Linear(16, 8, bias=False)))
    x = torch.randn(4, 8)
    exact = module(x)
    quantize_linears(module)
    assert not [m for m in module.modules() if isinstance(m, torch.nn.Linear)]
    assert torch.cosine_similarity(module(x), exact, dim=-1).min() > 0.99


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_gradients_of_single_examples_by_torch_func(linear: Linear) -> None:
    def loss(parameters: dict[str, torch.Tensor], row: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(linear, parameters, (row[None],)).square().sum()

    x, parameters = torch.randn(5, 96), {name: value.detach() for name, value in linear.named_parameters()}
    single = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    linear(x).square().sum().backward()
    for name, value in linear.named_parameters():
        assert value.grad is not None
        torch.testing.assert_close(single[name].sum(0), value.grad, atol=1e-3, rtol=1e-4)
