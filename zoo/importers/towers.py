"""Weights of other libraries for MuLan's towers: what a tower is initialized from, renamed for `checkpoint.assign`.

    assign(tower, resnet_tensors(weights, source="resnet50.safetensors"), source="resnet50.safetensors")

Tensors that have no place are refused here, missing ones by `assign`. Classifiers are left out.

Legend: D width, C channels, T steps in time, N bands, p patch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.errors import CheckpointError
from zoo.importers.source import fuse_attention, rename

_PARTS = {
    "conv1": "reduce.conv",
    "bn1": "reduce.norm",
    "conv2": "spatial.conv",
    "bn2": "spatial.norm",
    "conv3": "expand.conv",
    "bn3": "expand.norm",
    "downsample.0": "shortcut.conv",
    "downsample.1": "shortcut.norm",
}
_RESNET = (
    (r"conv1\.(\w+)", r"stem.conv.\1"),
    (r"bn1\.(\w+)", r"stem.norm.\1"),
    *(
        (rf"layer{stage + 1}\.(\d+)\.{re.escape(theirs)}\.(\w+)", rf"stages.{stage}.\1.{ours}.\2")
        for stage in range(4)
        for theirs, ours in _PARTS.items()
    ),
)
# transformers 5 in memory; with "encoder.layer" and the longer names, its files and transformers 4.
_BLOCK = r"(?:encoder\.layer|layers)\.(\d+)\."
_OURS = r"transformer.blocks.\1."
_AST = (
    (r"embeddings\.(cls_token|distillation_token|position_embeddings)", r"\1"),
    (r"embeddings\.patch_embeddings\.projection\.(weight|bias)", r"embed.\1"),
    (_BLOCK + r"attention\.(?:attention\.)?(q|k|v)(?:_proj|uery|ey|alue)\.(weight|bias)", _OURS + r"attention.\2.\3"),
    (_BLOCK + r"attention\.(?:o_proj|output\.dense)\.(weight|bias)", _OURS + r"attention.out.\2"),
    (_BLOCK + r"layernorm_before\.(weight|bias)", _OURS + r"attention_norm.\2"),
    (_BLOCK + r"layernorm_after\.(weight|bias)", _OURS + r"ffn_norm.\2"),
    (_BLOCK + r"(?:mlp\.fc1|intermediate\.dense)\.(weight|bias)", _OURS + r"ffn.up.\2"),
    (_BLOCK + r"(?:mlp\.fc2|output\.dense)\.(weight|bias)", _OURS + r"ffn.down.\2"),
    (r"layernorm\.(weight|bias)", r"transformer.norm.\1"),
)


def resnet_tensors(tensors: Mapping[str, Tensor], *, source: str = "ResNet weights") -> dict[str, Tensor]:
    """A ResNet with bottlenecks of torchvision or timm -> names of ResNetTower.

    The first convolution is summed over its input channels: what it gives for three equal ones. Strides are no weights;
    the tower sets its own. Files of torch < 0.4 have no counts of batches, which nothing uses: they are filled in.
    Raises CheckpointError listing what is no part of such a model.
    """
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}
    out = rename(kept, _RESNET, source=source)
    if "stem.conv.weight" in out:
        out["stem.conv.weight"] = out["stem.conv.weight"].sum(1, keepdim=True)  # (C, 1, 7, 7)
    for name in [name for name in out if name.endswith(".running_mean")]:
        out.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    return out


# What must hold in an ASTConfig, because it is the only thing implemented. All are the defaults of transformers.
_AST_IMPLEMENTED = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "qkv_bias": True}
# Argument of ASTTower: (theirs, their default).
_AST_FIELDS = {
    "mels": ("num_mel_bins", 128),
    "dim": ("hidden_size", 768),
    "layers": ("num_hidden_layers", 12),
    "heads": ("num_attention_heads", 12),
    "ffn_dim": ("intermediate_size", 3072),
    "patch": ("patch_size", 16),
    "stride": ("time_stride", 10),
}


def ast_arguments(described: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Arguments of ASTTower, without its frames, from an ASTConfig. Raises CheckpointError for what it lacks."""
    for field, expected in _AST_IMPLEMENTED.items():
        if described.get(field, expected) != expected:
            raise CheckpointError(f"{source}: {field} is {described[field]!r}; zoo implements {expected!r} only")
    if described.get("frequency_stride", 10) != described.get("time_stride", 10):
        raise CheckpointError(f"{source}: frequency_stride and time_stride differ; zoo has one stride for both")
    return {ours: described.get(theirs, default) for ours, (theirs, default) in _AST_FIELDS.items()}


def ast_tensors(
    tensors: Mapping[str, Tensor],
    *,
    mels: int = 128,
    stride: int = 10,
    frames: int = 1000,
    source: str = "AST weights",
) -> dict[str, Tensor]:
    """ASTModel or ASTForAudioClassification of transformers -> names of an ASTTower of these mels, stride and frames.

    Published weights have positions for 1024 frames; a tower of fewer gets those of the middle, as in AST's own code.
    Raises CheckpointError listing what is no part of such a model, and for positions that fit no number of frames or
    too few.
    """
    tensors = {name.removeprefix("audio_spectrogram_transformer."): tensor for name, tensor in tensors.items()}
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier.")}
    out = rename(kept, _AST, source=source)
    fuse_attention(out, source=source)
    needed = ("cls_token", "distillation_token", "position_embeddings", "embed.weight")
    if missing := [name for name in needed if name not in out]:
        raise CheckpointError(f"{source}: no {', '.join(missing)}; these are not the weights of an ASTModel")
    projection = out["embed.weight"]  # (D, 1, p, p), frequency before time
    patch = projection.shape[-1]
    out["embed.weight"] = projection[:, 0].transpose(1, 2).flatten(1)  # (D, p p)
    out["tokens"] = torch.cat([out.pop("cls_token")[0], out.pop("distillation_token")[0]])  # (2, D)
    bands, steps = (mels - patch) // stride + 1, (frames - patch) // stride + 1
    out["position"] = _positions(out.pop("position_embeddings")[0], bands, steps, source)
    return out


def _positions(theirs: Tensor, bands: int, steps: int, source: str) -> Tensor:
    """(2 + N T', D), all of a band before the next -> (2 + T N, D), all of a step before the next, T <= T'."""
    count = len(theirs) - 2
    if count % bands or count // bands < steps:
        raise CheckpointError(
            f"{source}: {count} positions of patches; a tower of {bands} bands and {steps} steps takes them from "
            f"a multiple of {bands} that is at least {bands * steps}"
        )
    first = (count // bands - steps) // 2
    grid = theirs[2:].unflatten(0, (bands, -1))[:, first : first + steps]  # (N, T, D)
    return torch.cat([theirs[:2], grid.transpose(0, 1).flatten(0, 1)])
