"""Foreign tensors to ours: renaming by rules, weight norm taken, query, key and value fused.

Legend: D width, G groups, K kernel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from zoo.errors import CheckpointError


def rename(tensors: Mapping[str, Tensor], rules: Sequence[tuple[str, str]], *, source: str) -> dict[str, Tensor]:
    r"""New name -> tensor, by the first rule (regular expression, replacement) that matches the whole old name.

    Raises CheckpointError listing every tensor that no rule knows, and any two that would get one name.
    """
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    renamed: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    unknown = []
    for old, tensor in tensors.items():
        match = next(((m, replacement) for pattern, replacement in compiled if (m := pattern.fullmatch(old))), None)
        if match is None:
            unknown.append(f"{old} {tuple(tensor.shape)}")
            continue
        new = match[0].expand(match[1])
        if new in renamed:
            raise CheckpointError(f"{source}: both {origin[new]} and {old} are {new}")
        renamed[new], origin[new] = tensor, old
    if unknown:
        raise CheckpointError(
            f"{source}: {len(unknown)} tensors have no place in the model:\n  unexpected  "
            + "\n  unexpected  ".join(unknown)
        )
    return renamed


def take_weight_norm(tensors: dict[str, Tensor], *, source: str) -> None:
    """Replace each pair `<name>_g`, `<name>_v` by `<name>` = g v / ||v||, in place.

    The norm runs over the dimensions in which g has size 1: one norm per tap for g (1, 1, K).
    Computed in float64, so that the rounding is that of the result alone. Raises CheckpointError for any other gain.
    """
    for gain_name in [name for name in tensors if name.endswith("_g") and f"{name[:-2]}_v" in tensors]:
        name = gain_name.removesuffix("_g")
        gain, direction = tensors.pop(gain_name), tensors.pop(f"{name}_v")  # (1, 1, K), (D, D/G, K)
        if not _is_gain(gain, direction):
            raise CheckpointError(f"{source}: {gain_name} {_kind(gain)} is no gain of {name}_v {_kind(direction)}")
        dims = [d for d, size in enumerate(gain.shape) if size == 1]
        gain, direction = gain.double(), direction.double()
        tensors[name] = (direction * (gain / direction.norm(dim=dims, keepdim=True))).float()


def _is_gain(gain: Tensor, direction: Tensor) -> bool:
    """Whether both are floating-point, and the gain has the size of the direction in one dimension and 1 in others."""
    shapes = [[n if d == kept else 1 for d, n in enumerate(direction.shape)] for kept in range(direction.ndim)]
    return gain.is_floating_point() and direction.is_floating_point() and list(gain.shape) in shapes


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {tensor.dtype}"


def fuse_attention(tensors: dict[str, Tensor], *, source: str) -> None:
    """Replace `<x>.q.<y>`, `<x>.k.<y>`, `<x>.v.<y>` by `<x>.qkv.<y>`, rows in this order, in place.

    An incomplete triple stays as it is, and then fails to find its place in the model.
    Raises CheckpointError as `stack`.
    """
    for query in [name for name in tensors if ".attention.q." in name]:
        triple = [query.replace(".attention.q.", f".attention.{part}.") for part in "qkv"]
        if all(name in tensors for name in triple):
            fused = stack(tensors, triple, source=source)  # (3 D, D) or (3 D,)
            tensors[query.replace(".attention.q.", ".attention.qkv.")] = fused


def stack(tensors: dict[str, Tensor], names: Sequence[str], *, source: str) -> Tensor:
    """The rows of these tensors, which are taken out. Raises CheckpointError when they differ in shape or kind."""
    parts = [tensors.pop(name) for name in names]
    if len({(part.shape, part.is_floating_point()) for part in parts}) > 1:
        found = ", ".join(f"{name} {_kind(part)}" for name, part in zip(names, parts, strict=True))
        raise CheckpointError(f"{source}: parts of one projection differ: {found}")
    return torch.cat(parts)
