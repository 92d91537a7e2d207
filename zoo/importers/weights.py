"""The weights of a Hugging Face directory."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from zoo.checkpoint import read_safetensors
from zoo.errors import CheckpointError
from zoo.importers.source import read_json


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
    try:
        # Only the zip layout, torch >= 1.6, can be mapped; that spares a copy of all weights.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # whatever a damaged or hostile pickle leads to
        raise CheckpointError(f"{path}: damaged, or not weights alone ({type(error).__name__}: {error})") from error
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise CheckpointError(f"{path}: must hold a mapping from names to tensors")
    return content
