"""Hugging Face directories of HuBERT, and of wav2vec 2.0, XLS-R, UniSpeech and UniSpeech-SAT, which have its encoder:
the bare model, ForCTC, ForXVector, ForPreTraining and the classifiers.

Whatever the configuration asks for is either done exactly as `transformers` does it, or refused by name.

The waveform is normalized if preprocessor_config.json says so, because that is what `transformers` does with its own
processor: numbers agree. facebook/hubert-base-ls960 says so although fairseq trained it on plain waveforms; there the
GroupNorm of the front end undoes it up to its epsilon, so that the two differ in quiet recordings only (fairseq's own
file is read with fairseq's setting). Without that file, or processor_config.json, models with LayerNorm in the front
end are normalized and those with GroupNorm are not, as they were trained.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.errors import CheckpointError
from zoo.importers.source import (
    Foreign,
    ForeignSource,
    fuse_attention,
    read_weights,
    rename,
    take_weight_norm,
)
from zoo.io.small_files import front_matter, read_json
from zoo.io.text import shorten
from zoo.models.ctc.alphabet import BOUNDARY
from zoo.models.xvector import DILATIONS, KERNELS
from zoo.nn.conv import WaveformFrontend

# Our field: (theirs, their default, for configurations that leave it out).
_FIELDS: dict[str, tuple[str, Any]] = {
    "conv_norm": ("feat_extract_norm", "group"),
    "conv_bias": ("conv_bias", False),
    "layers": ("num_hidden_layers", 12),
    "dim": ("hidden_size", 768),
    "heads": ("num_attention_heads", 12),
    "ffn_dim": ("intermediate_size", 3072),
    "norm_first": ("do_stable_layer_norm", False),
    "position_kernel": ("num_conv_pos_embeddings", 128),
    "position_groups": ("num_conv_pos_embedding_groups", 16),
    "dropout": ("hidden_dropout", 0.1),
    "attention_dropout": ("attention_dropout", 0.1),
    "activation_dropout": ("activation_dropout", 0.1),
    "layerdrop": ("layerdrop", 0.1),
}
# What must hold, because it is the only thing implemented. All are the defaults of transformers too.
_IMPLEMENTED: dict[str, Any] = {
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "feat_proj_layer_norm": True,
    "layer_norm_eps": 1e-5,
    "conv_pos_batch_norm": False,
    "adapter_attn_dim": None,
    "add_adapter": False,
    "conv_kernel": list(WaveformFrontend.kernels),
    "conv_stride": list(WaveformFrontend.strides),
}
_BLOCK = r"encoder\.layers\.(\d+)\."
_RULES = (
    (r"masked_spec_embed", "mask_embedding"),
    (r"feature_extractor\.conv_layers\.(\d+)\.conv\.(weight|bias)", r"frontend.convs.\1.\2"),
    (r"feature_extractor\.conv_layers\.(\d+)\.layer_norm\.(weight|bias)", r"frontend.norms.\1.\2"),
    (r"feature_projection\.layer_norm\.(weight|bias)", r"projection.norm.\1"),
    (r"feature_projection\.projection\.(weight|bias)", r"projection.linear.\1"),
    (r"encoder\.pos_conv_embed\.conv\.(weight|weight_g|weight_v|bias)", r"position.\1"),
    (r"encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original0", "position.weight_g"),
    (r"encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original1", "position.weight_v"),
    (r"encoder\.layer_norm\.(weight|bias)", r"transformer.norm.\1"),
    (_BLOCK + r"attention\.([qkv])_proj\.(weight|bias)", r"transformer.blocks.\1.attention.\2.\3"),
    (_BLOCK + r"attention\.out_proj\.(weight|bias)", r"transformer.blocks.\1.attention.out.\2"),
    (_BLOCK + r"layer_norm\.(weight|bias)", r"transformer.blocks.\1.attention_norm.\2"),
    (_BLOCK + r"feed_forward\.intermediate_dense\.(weight|bias)", r"transformer.blocks.\1.ffn.up.\2"),
    (_BLOCK + r"feed_forward\.output_dense\.(weight|bias)", r"transformer.blocks.\1.ffn.down.\2"),
    (_BLOCK + r"final_layer_norm\.(weight|bias)", r"transformer.blocks.\1.ffn_norm.\2"),
    (r"lm_head\.(weight|bias)", r"ctc.\1"),
)
# The x-vector head of checkpoints for speaker verification. Names as after the prefix is taken off.
_SPEAKER_RULES = (
    (r"layer_weights", "speaker.layer_weights"),
    (r"projector\.(weight|bias)", r"speaker.projection.\1"),
    (r"tdnn\.(\d+)\.kernel\.(weight|bias)", r"speaker.convs.\1.\2"),
    (r"feature_extractor\.(weight|bias)", r"speaker.out.\1"),
)
_SPEAKER_TRAINING = ("classifier.", "objective.")
_SPEAKER_IMPLEMENTED = {"tdnn_kernel": list(KERNELS), "tdnn_dilation": list(DILATIONS)}
# Heads that zoo has no use for: classifiers, the projection kept by ContentVec and others, and those of pre-training.
_FOREIGN_HEADS = (
    *("projector.", "classifier.", "layer_weights", "final_proj."),
    *("quantizer.", "project_q.", "project_hid.", "ctc_proj."),
    *("speaker_proj.", "label_embeddings_concat", "layer_norm_for_extract."),
)


def read(source: ForeignSource) -> Foreign:
    """The HuBERT of a Hugging Face directory. See `read_encoder`."""
    return read_encoder(source, "hubert")


def read_encoder(source: ForeignSource, family: str, more_rules: Sequence[tuple[str, str]] = ()) -> Foreign:
    """A model with HuBERT's blocks. more_rules: for tensors that only `family` has.

    Notes: `license`, where README.md states one; `left_out`, tensors of foreign heads; `filled_in`, mask_embedding
    where there is none (transformers drops it from models that never mask): uniform in [0, 1), as before training.
    Raises CheckpointError for what is missing, damaged, unexpected or not implemented.
    """
    config = _config(source)
    prefix = source.content["model_type"].replace("-", "_") + "."
    tensors = {name.removeprefix(prefix): tensor for name, tensor in read_weights(source.path).items()}
    of_speakers = any(name.startswith("tdnn.") for name in tensors)
    left_out = [name for name in tensors if name.startswith(_SPEAKER_TRAINING if of_speakers else _FOREIGN_HEADS)]
    tensors = {name: tensor for name, tensor in tensors.items() if name not in left_out}
    rules = (*_RULES, *more_rules, *(_SPEAKER_RULES if of_speakers else ()))
    tensors = rename(tensors, rules, source=source.name)
    take_weight_norm(tensors, source=source.name)
    fuse_attention(tensors, source=source.name)
    notes: dict[str, Any] = {"left_out": left_out} if left_out else {}
    if license := license_of(source.path / "README.md"):
        notes["license"] = license
    if "mask_embedding" not in tensors:
        tensors["mask_embedding"] = torch.rand(config["dim"], generator=torch.Generator().manual_seed(0))
        notes["filled_in"] = "mask_embedding, uniform in [0, 1)"
    if "ctc.weight" in tensors:
        order, config["vocabulary"] = _vocabulary(source, len(tensors["ctc.weight"]))
        tensors |= {name: tensors[name][order] for name in ("ctc.weight", "ctc.bias") if name in tensors}
    if of_speakers:
        config |= _speaker_config(source)
        _fold_kernels(tensors)
    return Foreign(family, config, tensors, "Hugging Face", notes)


def _speaker_config(source: ForeignSource) -> dict[str, Any]:
    check_implemented(source, _SPEAKER_IMPLEMENTED)
    weighted = source.content.get("use_weighted_layer_sum", False)
    return {
        "speaker_widths": tuple(source.content.get("tdnn_dim", (512, 512, 512, 512, 1500))),
        "speaker_dim": source.content.get("xvector_output_dim", 512),
        "speaker_layers": "weighted" if weighted else "last",
    }


def _fold_kernels(tensors: dict[str, Tensor]) -> None:
    """Kernels of the speaker head, linear layers over K frames (O, K I) in transformers, as convolutions (O, I, K)."""
    for name in [name for name in tensors if name.startswith("speaker.convs.") and name.endswith("weight")]:
        layer = int(name.split(".")[2])
        tensors[name] = tensors[name].unflatten(1, (KERNELS[layer], -1)).transpose(1, 2).contiguous()


def check_implemented(source: ForeignSource, implemented: Mapping[str, Any]) -> None:
    """Raises CheckpointError, naming the field, for a value that zoo does not implement."""
    for field, expected in implemented.items():
        if source.content.get(field, expected) != expected:
            value = shorten(source.content[field])
            raise CheckpointError(
                f"{source.path / 'config.json'}: {field} is {value}; zoo implements {expected!r} only"
            )


def _config(source: ForeignSource) -> dict[str, Any]:
    theirs = source.content
    check_implemented(source, _IMPLEMENTED)
    config = {ours: theirs.get(field, default) for ours, (field, default) in _FIELDS.items()}
    config |= {ours: float(value) for ours, value in config.items() if "drop" in ours}
    widths = theirs.get("conv_dim", [512])
    if len(set(widths)) != 1:
        raise CheckpointError(
            f"{source.path / 'config.json'}: conv_dim is {shorten(widths)}; zoo's HuBERT has one width throughout"
        )
    config["conv_dim"] = widths[0]
    processor = processor_of(source.path)
    if processor is None:
        config["normalize"] = config["conv_norm"] == "layer"
    else:
        config["normalize"] = bool(processor.get("do_normalize", True))
        config["sample_rate"] = int(processor.get("sampling_rate", 16_000))
    return config


def processor_of(directory: Path) -> Mapping[str, Any] | None:
    """Settings of the feature extractor: a file of their own, or (transformers >= 5) part of the processor's."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (directory / name).is_file():
            settings = read_json(directory / name)
            found = settings.get("feature_extractor", settings if name.startswith("pre") else None)
            if isinstance(found, Mapping):
                return found
    return None


def license_of(card: Path) -> str:
    """`license` of a model card's YAML front matter, several joined by commas, or nothing.

    A card that cannot be read is left out with a warning, because the model does not depend on it.
    """
    try:
        found = front_matter(card).get("license") if card.is_file() else None
    except CheckpointError as error:
        warnings.warn(f"{error}; the license is not recorded", stacklevel=2)
        return ""
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found or "")


def _vocabulary(source: ForeignSource, size: int) -> tuple[list[int], tuple[str, ...]]:
    """Rows of the CTC head in zoo's order, blank (their padding token) first, and the symbol of each."""
    files = [path for name in ("vocab.json", "added_tokens.json") if (path := source.path / name).is_file()]
    symbols: dict[int, str] = {}
    for file in files:
        for symbol, row in read_json(file).items():
            if not isinstance(row, int):
                raise CheckpointError(
                    f"{file}: {shorten(symbol)} has the id {shorten(row)}; one flat table from symbols to ids is due"
                )
            symbols[row] = symbol
    _mark_boundary(source.path / "tokenizer_config.json", symbols)
    nameless = [row for row in range(size) if row not in symbols]
    if nameless:
        where = ", ".join(file.name for file in files) or "vocab.json, which is missing"
        raise CheckpointError(f"{source.path}: outputs {shorten(nameless)} of the CTC head have no symbol in {where}")
    blank = source.content.get("pad_token_id", 0)
    if not isinstance(blank, int) or not 0 <= blank < size:
        raise CheckpointError(
            f"{source.path / 'config.json'}: pad_token_id {shorten(blank)} is none of the {size} CTC outputs"
        )
    order = [blank, *(row for row in range(size) if row != blank)]
    return order, tuple(symbols[row] for row in order)


def _mark_boundary(settings: Path, symbols: dict[int, str]) -> None:
    """What stands between words is "|" in zoo, and what the tokenizer says in transformers. In place."""
    delimiter = read_json(settings).get("word_delimiter_token", BOUNDARY) if settings.is_file() else BOUNDARY
    if isinstance(delimiter, Mapping):  # a token with its flags
        delimiter = delimiter.get("content")
    rows = [row for row, symbol in symbols.items() if symbol == delimiter]
    if delimiter == BOUNDARY or not rows:
        return
    if BOUNDARY in symbols.values():
        raise CheckpointError(
            f"{settings}: word_delimiter_token is {shorten(delimiter)}, but {BOUNDARY!r} is a symbol too, "
            "which zoo takes for the space between words"
        )
    symbols.update(dict.fromkeys(rows, BOUNDARY))
