"""What an importer works with: the source, the weights that lie there, tensors brought to ours, and what it returns.

Tensors are renamed by rules, weight norm is taken, query, key and value are fused. Legend: D width, G groups, K kernel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.checkpoint import read_safetensors
from zoo.errors import CheckpointError, ZooError
from zoo.importers import torchfile
from zoo.io.small_files import read_json
from zoo.io.text import first_lines, shorten


@dataclass(frozen=True)
class ForeignSource:
    """Something that holds foreign weights.

    name: what the user calls it, for messages and provenance; path: directory or file.
    content: config.json of a directory, or what a file of torch.save holds.
    """

    name: str
    path: Path
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Foreign:
    """A model in zoo's terms: config for the family's Config, tensors under the names of its state_dict.

    layout: where it came from, for the record ("fairseq"); notes: what was dropped or filled in, likewise.
    tokenizer: for models that have one.
    """

    family: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    layout: str
    notes: dict[str, Any] = field(default_factory=dict)
    tokenizer: Any = None


_REASON_CHARACTERS = 300


def _short_reason(error: Exception) -> str:
    """The message of an exception of Python or torch; that of a KeyError may be any value of the file."""
    return shorten(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)[:_REASON_CHARACTERS]


@contextmanager
def understood(name: str) -> Iterator[None]:
    """Whatever values and shapes that make no sense lead to becomes a CheckpointError that names the source."""
    try:
        yield
    except ZooError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(
            f"{name}: its description or weights cannot be understood ({_short_reason(error)})"
        ) from error


def read_weights(directory: Path) -> dict[str, Tensor]:
    """All tensors of model.safetensors or, failing that, pytorch_model.bin, each whole or in shards.

    Raises CheckpointError for what is missing, damaged, quantized, or not weights alone.
    """
    _check_plain(directory / "config.json")
    for stem, load in (("model.safetensors", read_safetensors), ("pytorch_model.bin", _read_pickled)):
        index = directory / f"{stem}.index.json"
        if (directory / stem).is_file():
            return load(directory / stem)
        if index.is_file():
            tensors: dict[str, Tensor] = {}
            for shard in sorted(set(read_json(index).get("weight_map", {}).values())):
                if Path(shard).name != shard or not (directory / shard).is_file():
                    raise CheckpointError(f"{index}: names the file {shorten(shard)}, which is not in the directory")
                tensors |= load(directory / shard)
            return tensors
    raise CheckpointError(f"{directory}: holds neither model.safetensors nor pytorch_model.bin")


def _check_plain(config: Path) -> None:
    """Quantized weights lie in tensors of other meanings under the same names; each method has its own."""
    settings = read_json(config).get("quantization_config") if config.is_file() else None
    if settings:
        method = settings.get("quant_method") if isinstance(settings, dict) else settings
        raise CheckpointError(
            f"{config}: quantization_config says that the weights are quantized ({shorten(method)}); zoo reads "
            "floating-point ones: take the model that this was made from, or dequantize it"
        )


def _read_pickled(path: Path) -> dict[str, Tensor]:
    """Tensors of pytorch_model.bin, read without torch.load: no pickle is executed."""
    content = torchfile.read(path)
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise CheckpointError(f"{path}: must hold a mapping from names to tensors, and nothing else")
    return content


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
            unknown.append(f"unexpected  {old} {tuple(tensor.shape)}")
            continue
        new = match[0].expand(match[1])
        if new in renamed:
            raise CheckpointError(f"{source}: both {origin[new]} and {old} are {new}")
        renamed[new], origin[new] = tensor, old
    if unknown:
        raise CheckpointError(f"{source}: {len(unknown)} tensors have no place in the model:\n  {first_lines(unknown)}")
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
