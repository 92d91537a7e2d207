"""Hugging Face directories of ClapModel (laion/clap-htsat-unfused and others), with their tokenizer.

A configuration is either implemented exactly as in `transformers`, or an error names the unsupported field. Batch norms
are folded into the affine or the linear layer beside them.

Legend: D width, N mels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.errors import CheckpointError
from zoo.importers.bert import bert_tensors
from zoo.importers.hf import license_of, processor_of
from zoo.importers.source import Foreign, ForeignSource, fuse_attention, read_weights, rename
from zoo.io.text import shorten
from zoo.models.clap.text import Tokenizer
from zoo.models.tokenized import check_ids

# Our field: (their field, its default, for configurations that leave it out).
_AUDIO_FIELDS: dict[str, tuple[str, Any]] = {
    "mels": ("num_mel_bins", 64),
    "image": ("spec_size", 256),
    "patch": ("patch_size", 4),
    "fused": ("enable_fusion", False),
    "audio_dim": ("patch_embeds_hidden_size", 96),
    "audio_depths": ("depths", [2, 2, 6, 2]),
    "audio_heads": ("num_attention_heads", [4, 8, 16, 32]),
    "audio_dropout": ("hidden_dropout_prob", 0.1),
    "attention_window": ("window_size", 8),
    "fusion_reduction": ("aff_block_r", 4),
}
_TEXT_FIELDS: dict[str, tuple[str, Any]] = {
    "vocab_size": ("vocab_size", 50_265),
    "text_dim": ("hidden_size", 768),
    "text_layers": ("num_hidden_layers", 12),
    "text_heads": ("num_attention_heads", 12),
    "text_ffn_dim": ("intermediate_size", 3072),
    "text_dropout": ("hidden_dropout_prob", 0.1),
    "text_attention_dropout": ("attention_probs_dropout_prob", 0.1),
    "text_eps": ("layer_norm_eps", 1e-12),
}
_EXTRACTOR_FIELDS: dict[str, tuple[str, Any]] = {
    "sample_rate": ("sampling_rate", 48_000),
    "window_seconds": ("max_length_s", 10),
    "fft": ("fft_window_size", 1024),
    "mel_hop": ("hop_length", 480),
    "low_hz": ("frequency_min", 0),
    "high_hz": ("frequency_max", 14_000),
}
# Fields with a single supported value, which is the default of transformers.
_IMPLEMENTED: dict[str, dict[str, Any]] = {
    "audio_config": {
        "hidden_act": "gelu",
        "projection_hidden_act": "relu",
        "fusion_type": None,
        "patch_embed_input_channels": 1,
        "flatten_patch_embeds": True,
        "enable_patch_layer_norm": True,
        "drop_path_rate": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "qkv_bias": True,
        "mlp_ratio": 4.0,
        "layer_norm_eps": 1e-5,
    },
    "text_config": {
        "hidden_act": "gelu",
        "projection_hidden_act": "relu",
        "position_embedding_type": "absolute",
        "pad_token_id": 1,
        "is_decoder": False,
        "add_cross_attention": False,
    },
}
_EXTRACTOR_IMPLEMENTED = {"padding": "repeatpad", "padding_value": 0.0, "top_db": None}

_STAGE = r"audio_encoder\.layers\.(\d+)\."
_BLOCK = _STAGE + r"blocks\.(\d+)\."
_OURS = r"swin.stages.\1.\2."
_PATCH = r"audio_encoder\.patch_embed\."
_AUDIO = (
    (r"audio_encoder\.batch_norm\.(\w+)", r"affine.\1"),
    (_PATCH + r"proj\.(weight|bias)", r"embed.\1"),
    (_PATCH + r"mel_conv2d\.(weight|bias)", r"embed_crop.\1"),
    (_PATCH + r"norm\.(weight|bias)", r"norm.\1"),
    (_PATCH + r"fusion_model\.local_att\.(\d)\.(\w+)", r"fusion.local.\1.\2"),
    (_PATCH + r"fusion_model\.global_att\.(\d)\.(\w+)", r"fusion.overall.\1.\2"),
    (_BLOCK + r"attention\.self\.(q|k|v)(?:uery|ey|alue)\.(weight|bias)", _OURS + r"attention.\3.\4"),
    (_BLOCK + r"attention\.self\.relative_position_bias_table", _OURS + r"attention.bias"),
    (_BLOCK + r"attention\.output\.dense\.(weight|bias)", _OURS + r"attention.out.\3"),
    (_BLOCK + r"layernorm_before\.(weight|bias)", _OURS + r"attention_norm.\3"),
    (_BLOCK + r"layernorm_after\.(weight|bias)", _OURS + r"ffn_norm.\3"),
    (_BLOCK + r"intermediate\.dense\.(weight|bias)", _OURS + r"ffn.up.\3"),
    (_BLOCK + r"output\.dense\.(weight|bias)", _OURS + r"ffn.down.\3"),
    (_STAGE + r"downsample\.norm\.(weight|bias)", r"swin.merges.\1.norm.\2"),
    (_STAGE + r"downsample\.reduction\.weight", r"swin.merges.\1.reduce.weight"),
    (r"audio_encoder\.norm\.(weight|bias)", r"swin.norm.\1"),
)
_HEADS = (
    (r"(audio|text)_projection\.linear1\.(weight|bias)", r"\1_projection.0.\2"),
    (r"(audio|text)_projection\.linear2\.(weight|bias)", r"\1_projection.2.\2"),
    (r"text_pooler\.dense\.(weight|bias)", r"text_pooler.\1"),
    (r"logit_scale_a", "temperature.log"),
)
_CONSTANT = re.compile(r".*\.(relative_position_index|position_ids|token_type_ids)")
_LEFT_OUT = ("logit_scale_t",)  # the temperature of texts among clips; only the loss needs it
_LOWEST = 1e-3  # temperature


def read(source: ForeignSource) -> Foreign:
    """The CLAP of a Hugging Face directory, with its tokenizer if there is one.

    Notes: `license`, where README.md states one; `left_out`, the second temperature.
    Raises CheckpointError for tensors or fields that are missing, damaged, unexpected or not supported.
    """
    config = _config(source)
    theirs = read_weights(source.path)
    notes: dict[str, Any] = {"left_out": [name for name in _LEFT_OUT if name in theirs]}
    theirs = {name: t for name, t in theirs.items() if name not in _LEFT_OUT and not _CONSTANT.fullmatch(name)}
    tensors = _audio(_take(theirs, "audio_model."), source.name)
    theirs |= {f"text_pooler.{name}": t for name, t in _take(theirs, "text_model.pooler.").items()}
    tensors |= _text(_take(theirs, "text_model."), config, source.name)
    tensors |= rename(theirs, _HEADS, source=source.name)
    if "temperature.log" in tensors:
        tensors["temperature.log"] = _temperature(tensors["temperature.log"], source.name)
    if license := license_of(source.path / "README.md"):
        notes["license"] = license
    return Foreign("clap", config, tensors, "Hugging Face", notes, _tokenizer(source, config["vocab_size"]))


def _take(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take the tensors with this prefix out, and leave the prefix off."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}


def _config(source: ForeignSource) -> dict[str, Any]:
    file = source.path / "config.json"
    parts = {name: source.content.get(name) or {} for name in _IMPLEMENTED}
    for name, fields in _IMPLEMENTED.items():
        _check(parts[name], fields, f"{file}: {name}.")
    audio, text = parts["audio_config"], parts["text_config"]
    _check(source.content, {"projection_hidden_act": "relu"}, f"{file}: ")
    config = _pick(audio, _AUDIO_FIELDS) | _pick(text, _TEXT_FIELDS)
    config["patch"] = _single(config["patch"], f"{file}: audio_config.patch_size")
    stride = _single(audio.get("patch_stride", [4, 4]), f"{file}: audio_config.patch_stride")
    if stride != config["patch"]:
        raise CheckpointError(
            f"{file}: patch_stride {stride} is not patch_size; zoo's CLAP has patches without overlap"
        )
    config["dim"] = source.content.get("projection_dim", 512)
    config["text_positions"] = text.get("max_position_embeddings", 514) - 2  # positions start after the padding's id
    config["text_length"] = config["text_positions"]
    return config | _extractor(source.path, bool(config["fused"]), config["mels"])


def _extractor(directory: Path, fused: bool, mels: int) -> dict[str, Any]:
    """Settings of the feature extractor."""
    settings = processor_of(directory)
    if settings is None:
        raise CheckpointError(f"{directory}: no preprocessor_config.json, which states the mel filters")
    where = f"{directory}: the feature extractor's "
    _check(settings, _EXTRACTOR_IMPLEMENTED, where)
    due = "fusion" if fused else "rand_trunc"
    truncation = settings.get("truncation", "fusion")
    if truncation != due:
        raise CheckpointError(f"{where}truncation is {shorten(truncation)}; enable_fusion {fused} needs {due!r}")
    if settings.get("feature_size", 64) != mels:
        raise CheckpointError(f"{where}feature_size is {shorten(settings['feature_size'])}, num_mel_bins {mels}")
    found = _pick(settings, _EXTRACTOR_FIELDS)
    return found | {name: float(found[name]) for name in ("window_seconds", "low_hz", "high_hz")}


def _pick(theirs: Mapping[str, Any], fields: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    return {ours: theirs.get(field, default) for ours, (field, default) in fields.items()}


def _check(theirs: Mapping[str, Any], fields: Mapping[str, Any], where: str) -> None:
    for field, expected in fields.items():
        if theirs.get(field, expected) != expected:
            raise CheckpointError(
                f"{where}{field} is {shorten(theirs[field])}; zoo's CLAP implements {expected!r} only"
            )


def _single(value: Any, field: str) -> int:
    """A size that may be written once for each direction."""
    sizes = value if isinstance(value, list | tuple) else [value]
    if len(set(sizes)) != 1:
        raise CheckpointError(f"{field} is {shorten(value)}; zoo's CLAP has square patches")
    return int(sizes[0])


def _audio(theirs: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Tensors of a ClapAudioModel under the names of ours."""
    tensors = rename(theirs, _AUDIO, source=source)
    fuse_attention(tensors, source=source)
    for name in ("embed.weight", "embed_crop.weight"):
        if name in tensors:
            tensors[name] = tensors[name].flatten(1)  # (D, patch patch)
    gain, offset = _batch_norm(tensors, "affine", source)
    tensors |= {"gain": gain.float(), "offset": offset.float()}
    for branch, first in (("local", 0), ("overall", 1)):  # in the other one, pooling comes first
        if f"fusion.{branch}.{first}.weight" in tensors:
            _fold_branch(tensors, f"fusion.{branch}.", first, source)
    return {f"audio.{name}": tensor for name, tensor in tensors.items()}


def _fold_branch(tensors: dict[str, Tensor], prefix: str, first: int, source: str) -> None:
    """convolution, norm, ReLU, convolution, norm -> linear, ReLU, linear; in place."""
    for ours, theirs in ((0, first), (2, first + 3)):
        gain, offset = _batch_norm(tensors, f"{prefix}{theirs + 1}", source)
        weight = tensors.pop(f"{prefix}{theirs}.weight").double().flatten(1)  # (outputs, inputs)
        bias = tensors.pop(f"{prefix}{theirs}.bias").double()
        tensors[f"{prefix}{ours}.weight"] = (weight * gain[:, None]).float()
        tensors[f"{prefix}{ours}.bias"] = (bias * gain + offset).float()


def _batch_norm(tensors: dict[str, Tensor], name: str, source: str) -> tuple[Tensor, Tensor]:
    """gain and offset, float64, of a batch norm in inference; its tensors are taken out."""
    parts = ("weight", "bias", "running_mean", "running_var")
    if missing := [f"{name}.{part}" for part in parts if f"{name}.{part}" not in tensors]:
        raise CheckpointError(f"{source}: no {', '.join(missing)} of a batch norm; these are not the weights of a CLAP")
    weight, bias, mean, variance = (tensors.pop(f"{name}.{part}").double() for part in parts)
    tensors.pop(f"{name}.num_batches_tracked", None)
    gain = weight / (variance + 1e-5).sqrt()
    return gain, bias - mean * gain


def _text(theirs: dict[str, Tensor], config: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """Tensors of a ClapTextModel, without its pooler, under the names of ours."""
    tensors = bert_tensors(theirs, source=source)
    if "positions.weight" in tensors:
        tensors["positions.weight"] = tensors["positions.weight"][-config["text_positions"] :]
    return {f"text.{name}": tensor for name, tensor in tensors.items()}


def _temperature(logit_scale: Tensor, source: str) -> Tensor:
    """The logarithm of a temperature (1,) from that of its inverse ()."""
    log = -logit_scale.float().reshape(1)
    if not 0 <= -float(log) <= -float(torch.tensor(_LOWEST).log()):
        raise CheckpointError(f"{source}: logit_scale_a {float(logit_scale):.4g} is outside of 0 to ln {1 / _LOWEST:g}")
    return log


def _tokenizer(source: ForeignSource, vocab_size: int) -> Tokenizer | None:
    if Tokenizer.find(source.path) is None:
        return None
    tokenizer = Tokenizer.load(source.path)
    check_ids(len(tokenizer), vocab_size, source.path)
    return tokenizer
