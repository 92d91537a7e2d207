"""The arithmetic that foreign tensors go through."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from zoo.errors import CheckpointError
from zoo.importers.source import fuse_attention, rename, take_weight_norm


@pytest.mark.parametrize("dim", [0, 2])
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e4])
def test_weight_norm_as_torch_takes_it(dim: int, scale: float) -> None:
    torch.manual_seed(0)
    conv = weight_norm(nn.Conv1d(8, 8, 5, groups=2), dim=dim)
    gain, direction = conv.parametrizations.weight.original0, conv.parametrizations.weight.original1
    with torch.no_grad():
        gain.mul_(torch.rand_like(gain) * scale)
        direction.mul_(scale)
    tensors = {"x.weight_g": gain.detach(), "x.weight_v": direction.detach(), "x.bias": conv.bias.detach()}
    take_weight_norm(tensors, source="file")
    assert sorted(tensors) == ["x.bias", "x.weight"]
    assert tensors["x.weight"].dtype == torch.float32
    torch.testing.assert_close(tensors["x.weight"], conv.weight.detach(), rtol=1e-6, atol=0)


def test_queries_keys_and_values_in_this_order() -> None:
    parts = {f"b.attention.{p}.bias": torch.full((2,), float(i)) for i, p in enumerate("vkq")}
    tensors = {**parts, "c.attention.q.bias": torch.zeros(2)}
    fuse_attention(tensors, source="file")
    assert tensors.pop("c.attention.q.bias").shape == (2,), "an incomplete triple is left for the strict check"
    assert tensors.keys() == {"b.attention.qkv.bias"}
    assert tensors["b.attention.qkv.bias"].tolist() == [2, 2, 1, 1, 0, 0]


@pytest.mark.parametrize("shape", [(1, 1, 4), (1, 1, 1), (5,), (1, 8, 5), ()])
def test_a_gain_of_another_shape_is_named(shape: tuple[int, ...]) -> None:
    tensors = {"x.weight_g": torch.ones(shape), "x.weight_v": torch.ones(8, 4, 5)}
    with pytest.raises(
        CheckpointError, match=r"file: x\.weight_g \(.*\) torch\.float32 is no gain of x\.weight_v \(8, 4, 5\)"
    ):
        take_weight_norm(tensors, source="file")
    tensors = {"x.weight_g": torch.ones(1, 1, 5), "x.weight_v": torch.ones(8, 4, 5, dtype=torch.int8)}
    with pytest.raises(CheckpointError, match=r"x\.weight_v \(8, 4, 5\) torch\.int8"):
        take_weight_norm(tensors, source="file")


@pytest.mark.parametrize("odd", [torch.zeros(2, 3), torch.zeros(4, 4), torch.zeros(2, 4, dtype=torch.int8)])
def test_parts_of_different_shapes_and_kinds_are_named(odd: torch.Tensor) -> None:
    tensors = {"b.attention.q.weight": torch.zeros(2, 4), "b.attention.k.weight": odd}
    tensors["b.attention.v.weight"] = torch.zeros(2, 4)
    with pytest.raises(CheckpointError, match=r"file: parts of one projection differ: .*b\.attention\.k\.weight \("):
        fuse_attention(tensors, source="file")


def test_all_unknown_names_and_any_clash_are_reported() -> None:
    rules = [(r"a\.(\d+)", r"b.\1"), (r"c", "b.0")]
    one = torch.zeros(1)
    assert rename({"a.3": one}, rules, source="file") == {"b.3": one}
    with pytest.raises(CheckpointError, match=r"file: 2 tensors have no place(.|\n)*a\.x \(1,\)(.|\n)*xa\.1 \(1,\)"):
        rename({"a.x": one, "xa.1": one, "a.1": one}, rules, source="file")
    with pytest.raises(CheckpointError, match=r"both a\.0 and c are b\.0"):
        rename({"a.0": one, "c": one}, rules, source="file")
