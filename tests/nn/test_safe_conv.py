"""No convolution runs in a shape that some processors compute wrongly in reduced precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from small import noise, small, structures
from torch import Tensor

from zoo.nn.conv_norm import ConvNorm
from zoo.nn.precision import cpu_description, to_dtype
from zoo.nn.safe_conv import conv2d, has_odd_groups, is_one_column


def has_amx() -> bool:
    _, flags = cpu_description()
    return "amx_bf16" in flags


def dirty_memory() -> None:
    """Fill memory that the next tensors will get with NaN."""
    kept = [torch.full((1 << 18,), float("nan")) for _ in range(8)]
    del kept


@given(
    groups=st.sampled_from([1, 2, 4]),
    inputs=st.sampled_from([8, 12, 16]),
    size=st.tuples(st.integers(3, 10), st.integers(1, 6)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    bias=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_every_shape_is_what_float32_gives(
    groups: int, inputs: int, size: tuple[int, int], stride: tuple[int, int], bias: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, groups * inputs, *size, generator=generator).bfloat16()
    weight = (torch.randn(groups * inputs, inputs, 3, 3, generator=generator) / (3 * inputs**0.5)).bfloat16()
    offset = torch.randn(groups * inputs, generator=generator).bfloat16() if bias else None
    dirty_memory()
    found = conv2d(x, weight, offset, stride, (1, 1), groups)
    exact = F.conv2d(x.float(), weight.float(), None if offset is None else offset.float(), stride, 1, 1, groups)
    assert found.dtype == torch.bfloat16 and found.shape == exact.shape
    torch.testing.assert_close(found.float(), exact, atol=0.04, rtol=0.02)


class Watch:
    """Stands in for F.conv2d; remembers the calls in reduced precision whose shape is one to avoid."""

    def __init__(self) -> None:
        self.calls = 0
        self.wrong: list[tuple[int, ...]] = []

    def __call__(
        self, x: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1, padding: Any = 0, *rest: Any, **named: Any
    ) -> Tensor:
        self.calls += 1
        pairs = [value if isinstance(value, tuple) else (value, value) for value in (stride, padding)]
        reduced = x.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")
        one_column = is_one_column(x, weight, pairs[0], pairs[1])
        if reduced and (one_column or has_odd_groups(weight, named.get("groups", 1))):
            self.wrong.append(tuple(x.shape))
        return CONV2D(x, weight, bias, stride, padding, *rest, **named)


CONV2D = F.conv2d
MODELS = tuple(structures())


@pytest.mark.parametrize("name", MODELS)
def test_no_model_runs_a_shape_to_avoid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In inference and in training; the fused operators, which are not seen here, are held back for such shapes."""
    watch = Watch()
    monkeypatch.setattr(F, "conv2d", watch)
    model = to_dtype(small(name), "bfloat16")
    model.embed([noise(0.5), noise(1.3)], 16_000)
    model.float().train()
    samples = model.sample_rate
    with torch.autocast("cpu", torch.bfloat16):
        model(noise(1.0)[None, :samples], torch.tensor([min(samples, 16_000)]))
    assert watch.wrong == []


@pytest.mark.parametrize("grad", [False, True])
def test_a_one_column_output_of_a_block_is_that_of_float32(grad: bool) -> None:
    torch.manual_seed(0)
    block = ConvNorm(64, 64, 3, (2, 2)).eval()
    x = torch.randn(3, 64, 10, 2)
    with torch.no_grad():
        exact = block(x)
    block = block.bfloat16()
    for _ in range(5):
        dirty_memory()
        with torch.set_grad_enabled(grad):
            found = block(x.bfloat16().contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(found.float(), exact, atol=0.06, rtol=0.03)


@pytest.mark.skipif(not has_amx(), reason="this CPU has no AMX")
@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_mulan_gives_the_same_bytes_on_amx(dtype: str) -> None:
    exact = small("mulan-resnet50")
    clips = [noise(1.0, 1), noise(3.0, 2)]
    reference = exact.embed(clips, 16_000)
    model = to_dtype(exact, dtype)
    found = []
    for _ in range(10):
        dirty_memory()
        found.append(model.embed(clips, 16_000))
    assert all(torch.equal(found[0], each) for each in found)
    assert torch.cosine_similarity(found[0], reference, dim=-1).min() > 0.995


@torch.no_grad()
def test_validation_under_autocast_runs_in_float32() -> None:
    """The fused operator ignores autocast, so a chain of blocks must not change precision half way."""
    torch.manual_seed(0)
    blocks = torch.nn.Sequential(ConvNorm(64, 64, 3, (2, 2)), ConvNorm(64, 64, 1)).eval()
    x = torch.randn(3, 64, 10, 2)
    exact = blocks(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = blocks(x)
    torch.testing.assert_close(found.float(), exact, atol=0.06, rtol=0.03)
