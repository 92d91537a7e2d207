"""A MuLan whose towers start from published weights: the way it was trained (arXiv 2208.12415, section 3).

    model = from_towers(
        audio="hf:MIT/ast-finetuned-audioset-10-10-0.4593",   # or resnet50.pth of torchvision, or a timm directory
        text="hf:google-bert/bert-base-uncased",
    )

The projections to the joint space are fresh, so such a model must be trained before its embeddings mean anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo import checkpoint, registry
from zoo.errors import CheckpointError, ConfigError
from zoo.importers import hub, torchfile
from zoo.importers.bert import bert_arguments, bert_tensors
from zoo.importers.source import read_weights, understood
from zoo.importers.towers import ast_arguments, ast_tensors, resnet_tensors
from zoo.io.paths import expand_path
from zoo.io.small_files import check_regular, read_json
from zoo.io.text import shorten
from zoo.models.mulan.model import MuLan
from zoo.models.mulan.text import Tokenizer

# Argument of ASTTower -> field of MulanConfig.
_AST_FIELDS = {"mels": "mels", "patch": "patch", "stride": "patch_stride"} | {
    name: f"audio_{name}" for name in ("dim", "layers", "heads", "ffn_dim")
}
_BLOCK_OF_RESNET = re.compile(r"layer(\d+)\.(\d+)\.conv3\.weight")

Weights = Callable[[MuLan], dict[str, Tensor]]
"""The tensors of a tower, once it is known what it is built for."""


def from_towers(
    audio: str | Path | None = None, text: str | Path | None = None, *, seed: int = 0, **overrides: Any
) -> MuLan:
    """A MuLan in eval mode with towers from elsewhere; a tower that is left out starts fresh.

    audio: directory or "hf:owner/name" of an ASTModel or of timm's ResNet-50; torchvision's .pth or .safetensors.
    text: BertModel directory with its tokenizer, or "hf:owner/name".
    overrides: fields of MulanConfig, such as dim or temperature; what the weights fix cannot be overridden.
    Fresh parts depend on `seed` alone.

    Raises CheckpointError for weights that are missing, damaged or of another architecture, ConfigError for overrides.
    """
    with understood(str(audio)):
        audio_config, audio_weights = _audio(audio) if audio is not None else ({}, None)
    with understood(str(text)):
        text_config, text_weights, tokenizer = _text(text) if text is not None else ({}, None, None)
    fixed = audio_config | text_config
    if clash := [name for name, value in overrides.items() if fixed.get(name, value) != value]:
        raise ConfigError(f"{clash[0]}={overrides[clash[0]]!r}: the weights were made for {fixed[clash[0]]!r}")
    if tokenizer is not None and len(tokenizer) > text_config["vocab_size"]:
        raise CheckpointError(
            f"{text}: the tokenizer has {len(tokenizer)} tokens, the weights {text_config['vocab_size']}"
        )
    shortest = {"text_length": fixed["text_positions"]} if text is not None else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = registry.build("mulan", fixed | shortest | overrides)
    assert isinstance(model, MuLan)
    if audio_weights is not None:
        with understood(str(audio)):
            checkpoint.assign(model.audio, audio_weights(model), source=str(audio))
    if text_weights is not None:
        checkpoint.assign(model.text, text_weights(model), source=str(text))
    model.tokenizer = tokenizer
    model.provenance = {"audio_tower": str(audio), "text_tower": str(text), "projections": f"fresh, seed {seed}"}
    return model


def _audio(source: str | Path) -> tuple[dict[str, Any], Weights]:
    path = _local(source)
    described = read_json(path / "config.json") if path.is_dir() else {}
    if described.get("model_type") == "audio-spectrogram-transformer":
        return _ast(str(source), described, read_weights(path))
    tensors = read_weights(path) if path.is_dir() else _read_file(path)
    if {"conv1.weight", "layer1.0.conv3.weight"} <= tensors.keys():
        return _resnet(str(source), tensors)
    raise CheckpointError(
        f"{source}: neither a directory of transformers' ASTModel nor a ResNet with bottlenecks of torchvision or timm"
    )


def _ast(source: str, described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], Weights]:
    arguments = ast_arguments(described, source=source)
    config = {_AST_FIELDS[name]: value for name, value in arguments.items()}
    layers, dim, ffn_dim, patch = (config[name] for name in ("audio_layers", "audio_dim", "audio_ffn_dim", "patch"))
    _check_sizes(config, [layers * dim * ffn_dim, patch * patch * dim], tensors, source)

    def weights(model: MuLan) -> dict[str, Tensor]:
        c = model.config
        return ast_tensors(tensors, mels=c.mels, stride=c.patch_stride, frames=model.mel_frames, source=source)

    return {"tower": "ast"} | config, weights


def _resnet(source: str, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], Weights]:
    places = [match for name in tensors if (match := _BLOCK_OF_RESNET.fullmatch(name))]
    stages = sorted({int(match[1]) for match in places})
    blocks = tuple(sum(int(match[1]) == stage for match in places) for stage in stages)
    config = {"tower": "resnet", "resnet_width": tensors["conv1.weight"].shape[0], "resnet_blocks": blocks}
    return config, lambda model: resnet_tensors(tensors, source=source)


def _text(source: str | Path) -> tuple[dict[str, Any], Weights, Tokenizer | None]:
    path = _local(source)
    if not path.is_dir():
        raise CheckpointError(f"{source}: a directory of transformers' BertModel is needed: its config tells the heads")
    arguments = bert_arguments(read_json(path / "config.json"), source=str(path / "config.json"))
    tensors = bert_tensors(read_weights(path), source=str(source))
    config = {f"text_{name}": arguments[name] for name in ("dim", "layers", "heads", "ffn_dim", "positions")}
    config["vocab_size"] = arguments["vocab"]
    dim = arguments["dim"]
    blocks, words = arguments["layers"] * dim * arguments["ffn_dim"], arguments["vocab"] * dim
    _check_sizes(config, [blocks, words, arguments["positions"] * dim], tensors, str(source))
    tokenizer = Tokenizer.load(path) if Tokenizer.find(path) else None
    return config, lambda model: tensors, tokenizer


def _check_sizes(config: Mapping[str, int], parts: Sequence[int], tensors: Mapping[str, Tensor], source: str) -> None:
    """Raises CheckpointError for a config of more than the weights have: building such a tower might never end.

    parts: elements of parts of the tower.
    """
    longest = max((size for tensor in tensors.values() for size in tensor.shape), default=0)
    elements = sum(tensor.numel() for tensor in tensors.values())
    excessive = [name for name, size in config.items() if size > longest]
    if excessive or max(parts) > elements:
        named = f" ({excessive[0]} {shorten(config[excessive[0]])})" if excessive else ""
        raise CheckpointError(f"{source}: config.json describes a larger model than these weights{named}")


def _local(source: str | Path) -> Path:
    path = hub.fetch(str(source)) if hub.is_hub(source) else expand_path(source)
    if not path.exists():
        raise CheckpointError(f"{source}: no such file or directory; a repository of the hub is written hf:owner/name")
    return path


def _read_file(path: Path) -> dict[str, Tensor]:
    """A state dict, bare or under "state_dict" as training scripts save it."""
    if path.suffix == ".safetensors":
        return checkpoint.read_safetensors(path)
    check_regular(path)
    content = torchfile.read(path)
    content = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path}: must hold a mapping from names to tensors")
    return dict(content)
