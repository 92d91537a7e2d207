"""Foreign sources: what an importer gets, the weights that lie there, and what it returns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.checkpoint import read_safetensors
from zoo.errors import CheckpointError, ZooError
from zoo.importers import torchfile


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


@contextmanager
def understood(name: str) -> Iterator[None]:
    """Whatever values and shapes that make no sense lead to becomes a CheckpointError that names the source."""
    try:
        yield
    except ZooError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(f"{name}: its description or weights cannot be understood ({error})") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises CheckpointError when it is missing or no object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: must hold a JSON object, not a {type(content).__name__}")
    return content


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
                    raise CheckpointError(f"{index}: names the file {shard!r}, which is not in the directory")
                tensors |= load(directory / shard)
            return tensors
    raise CheckpointError(f"{directory}: holds neither model.safetensors nor pytorch_model.bin")


def _check_plain(config: Path) -> None:
    """Quantized weights lie in tensors of other meanings under the same names; each method has its own."""
    settings = read_json(config).get("quantization_config") if config.is_file() else None
    if settings:
        method = settings.get("quant_method") if isinstance(settings, dict) else settings
        raise CheckpointError(
            f"{config}: quantization_config says that the weights are quantized ({method}); zoo reads floating-point "
            f"ones: take the model that this was made from, or dequantize it"
        )


def _read_pickled(path: Path) -> dict[str, Tensor]:
    """Tensors of pytorch_model.bin, read without torch.load: no pickle is executed."""
    content = torchfile.read(path)
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise CheckpointError(f"{path}: must hold a mapping from names to tensors, and nothing else")
    return content
