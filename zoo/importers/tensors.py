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


def take_weight_norm(tensors: dict[str, Tensor]) -> None:
    """Replace each pair `<name>_g`, `<name>_v` by `<name>` = g v / ||v||, in place.

    The norm runs over the dimensions in which g has size 1: one norm per tap for g (1, 1, K).
    Computed in float64, so that the rounding is that of the result alone.
    """
    for gain_name in [name for name in tensors if name.endswith("_g") and f"{name[:-2]}_v" in tensors]:
        name = gain_name.removesuffix("_g")
        gain, direction = tensors.pop(gain_name).double(), tensors.pop(f"{name}_v").double()  # (1, 1, K), (D, D/G, K)
        dims = [d for d, size in enumerate(gain.shape) if size == 1]
        tensors[name] = (direction * (gain / direction.norm(dim=dims, keepdim=True))).float()


def fuse_attention(tensors: dict[str, Tensor]) -> None:
    """Replace `<x>.q.<y>`, `<x>.k.<y>`, `<x>.v.<y>` by `<x>.qkv.<y>`, rows in this order, in place.

    An incomplete triple stays as it is, and then fails to find its place in the model.
    """
    for query in [name for name in tensors if ".attention.q." in name]:
        triple = [query.replace(".attention.q.", f".attention.{part}.") for part in "qkv"]
        if all(name in tensors for name in triple):
            fused = torch.cat([tensors.pop(name) for name in triple])  # (3 D, D) or (3 D,)
            tensors[query.replace(".attention.q.", ".attention.qkv.")] = fused
