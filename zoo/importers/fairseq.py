"""fairseq's HuBERT checkpoints: pre-trained (with the head that predicts units) and CTC fine-tuned ones.

Neither fairseq nor OmegaConf is needed: configuration and dictionaries arrive as inert records (see pickled.py).
fairseq normalizes the waveform if its task says so, and so does the model that is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.errors import CheckpointError
from zoo.importers.pickled import StubObject
from zoo.importers.source import Foreign, ForeignSource, fuse_attention, rename, take_weight_norm
from zoo.io.small_files import read_text
from zoo.io.text import shorten
from zoo.nn.conv import WaveformFrontend

# Our field: (theirs, their default, for configurations that leave it out).
_FIELDS: dict[str, tuple[str, Any]] = {
    "conv_bias": ("conv_bias", False),
    "layers": ("encoder_layers", 12),
    "dim": ("encoder_embed_dim", 768),
    "heads": ("encoder_attention_heads", 12),
    "ffn_dim": ("encoder_ffn_embed_dim", 3072),
    "norm_first": ("layer_norm_first", False),
    "position_kernel": ("conv_pos", 128),
    "position_groups": ("conv_pos_groups", 16),
    "dropout": ("dropout", 0.1),
    "attention_dropout": ("attention_dropout", 0.1),
    "activation_dropout": ("activation_dropout", 0.0),
    "layerdrop": ("encoder_layerdrop", 0.0),
    "temperature": ("logit_temp", 0.1),
}
# What must hold, because it is the only thing implemented.
_IMPLEMENTED: dict[str, Any] = {
    "activation_fn": "gelu",
    "target_glu": False,
    "pos_conv_depth": 1,
    "conv_pos_batch_norm": False,
    "layer_type": "transformer",
}
_EXTRACTOR_MODES = {"default": "group", "layer_norm": "layer"}
_CONV_LAYERS = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"
_FINE_TUNED = "w2v_encoder.w2v_model."
_MOST_VALUES = 100_000
_SPECIALS = 4  # every fairseq dictionary begins with <s> <pad> </s> <unk>

_BLOCK = r"encoder\.layers\.(\d+)\."
_RULES = (
    (r"mask_emb", "mask_embedding"),
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.(weight|bias)", r"frontend.convs.\1.\2"),
    (r"feature_extractor\.conv_layers\.(\d+)\.2\.(?:1\.)?(weight|bias)", r"frontend.norms.\1.\2"),
    (r"layer_norm\.(weight|bias)", r"projection.norm.\1"),
    (r"post_extract_proj\.(weight|bias)", r"projection.linear.\1"),
    (r"encoder\.pos_conv\.0\.(weight|weight_g|weight_v|bias)", r"position.\1"),
    (r"encoder\.pos_conv\.0\.parametrizations\.weight\.original0", "position.weight_g"),
    (r"encoder\.pos_conv\.0\.parametrizations\.weight\.original1", "position.weight_v"),
    (r"encoder\.layer_norm\.(weight|bias)", r"transformer.norm.\1"),
    (_BLOCK + r"self_attn\.([qkv])_proj\.(weight|bias)", r"transformer.blocks.\1.attention.\2.\3"),
    (_BLOCK + r"self_attn\.out_proj\.(weight|bias)", r"transformer.blocks.\1.attention.out.\2"),
    (_BLOCK + r"self_attn_layer_norm\.(weight|bias)", r"transformer.blocks.\1.attention_norm.\2"),
    (_BLOCK + r"fc1\.(weight|bias)", r"transformer.blocks.\1.ffn.up.\2"),
    (_BLOCK + r"fc2\.(weight|bias)", r"transformer.blocks.\1.ffn.down.\2"),
    (_BLOCK + r"final_layer_norm\.(weight|bias)", r"transformer.blocks.\1.ffn_norm.\2"),
    (r"final_proj\.(weight|bias)", r"head.projection.\1"),
    (r"label_embs_concat", "head.codes"),
    (r"w2v_encoder\.proj\.(weight|bias)", r"ctc.\1"),
)


def read(source: ForeignSource) -> Foreign:
    """The HuBERT of a fairseq checkpoint.

    Units: rows of the dictionary's special symbols are dropped, and the others put in the order of the unit numbers.
    CTC: all symbols of the dictionary stay outputs, blank (<s>) first, as fairseq trains them.
    Raises CheckpointError for what is missing, unexpected or not implemented.
    """
    model, task = _sections(source)
    tensors = source.content["model"]
    if not isinstance(tensors, Mapping) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise CheckpointError(f"{source.name}: `model` must hold a mapping from names to tensors")
    tensors = dict(tensors)
    fine_tuned = any(name.startswith(_FINE_TUNED) for name in tensors)
    notes: dict[str, Any] = {}
    if fine_tuned:
        model = _pretrained_section(source, model)
        tensors = {name.removeprefix(_FINE_TUNED): tensor for name, tensor in tensors.items()}
        # Left over from pre-training; without final_proj, which fairseq deletes, it predicts nothing.
        notes = {"left_out": ["label_embs_concat"]} if tensors.pop("label_embs_concat", None) is not None else {}
    config = _config(source, model, task)
    tensors = rename(tensors, _RULES, source=source.name)
    take_weight_norm(tensors, source=source.name)
    fuse_attention(tensors, source=source.name)
    if "projection.linear.weight" not in tensors and config["conv_dim"] == config["dim"]:
        tensors["projection.linear.weight"] = torch.eye(config["dim"])  # fairseq has no layer between equal widths
        tensors["projection.linear.bias"] = torch.zeros(config["dim"])
    dictionaries = _dictionaries(source.content.get("task_state"))
    if fine_tuned:
        if "ctc.weight" not in tensors:
            raise CheckpointError(f"{source.name}: fine-tuned, but without the CTC head w2v_encoder.proj")
        config["vocabulary"] = _vocabulary(source, dictionaries, len(tensors["ctc.weight"]))
    elif "head.codes" in tensors:
        config |= _unit_head(source, tensors, dictionaries, model)
    return Foreign("hubert", config, tensors, "fairseq", notes)


def _sections(source: ForeignSource) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configuration of the model and of the task: `cfg` has one part for each, the older `args` is flat."""
    config = plain(source.content.get("cfg"))
    if isinstance(config, dict) and isinstance(config.get("model"), dict):
        return config["model"], config.get("task") or {}
    arguments = plain(source.content.get("args"))
    if isinstance(arguments, dict):
        return arguments, arguments
    raise CheckpointError(f"{source.name}: neither cfg.model nor args holds the configuration of a model")


def _pretrained_section(source: ForeignSource, model: dict[str, Any]) -> dict[str, Any]:
    """A fine-tuned model keeps the configuration of the one it started from, which fixes the architecture."""
    arguments = model.get("w2v_args")
    if not isinstance(arguments, dict):
        raise CheckpointError(f"{source.name}: w2v_args, the configuration of the pre-trained encoder, is missing")
    pretrained = arguments.get("model")
    return pretrained if isinstance(pretrained, dict) else arguments


def _config(source: ForeignSource, model: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    for field, expected in _IMPLEMENTED.items():
        if model.get(field, expected) != expected:
            raise CheckpointError(
                f"{source.name}: {field} is {shorten(model[field])}; zoo's HuBERT implements {expected!r} only"
            )
    mode = model.get("extractor_mode", "default")
    if mode not in _EXTRACTOR_MODES:
        raise CheckpointError(f"{source.name}: extractor_mode is {shorten(mode)}; known: {', '.join(_EXTRACTOR_MODES)}")
    normalize = task.get("normalize", False)
    if not isinstance(normalize, bool):
        raise CheckpointError(f"{source.name}: the task's normalize is {shorten(normalize)} instead of true or false")
    config = {ours: model.get(field, default) for ours, (field, default) in _FIELDS.items()}
    config |= {ours: float(value) for ours, value in config.items() if "drop" in ours or ours == "temperature"}
    return config | {
        "conv_norm": _EXTRACTOR_MODES[mode],
        "conv_dim": _conv_width(source, model.get("conv_feature_layers", _CONV_LAYERS)),
        "normalize": normalize,
        "sample_rate": int(task.get("sample_rate", 16_000)),
    }


def _conv_width(source: ForeignSource, text: Any) -> int:
    """fairseq writes the front end as a Python expression, and evaluates it; here only sums and repeats are read."""
    if not isinstance(text, str):
        raise CheckpointError(f"{source.name}: conv_feature_layers is {shorten(text)}, not a text")
    layers: list[tuple[int, ...]] = []
    for term in re.sub(r"\s", "", text).split("+"):
        found = re.fullmatch(r"\[((?:\(\d+,\d+,\d+\),?)+)\](?:\*(\d{1,2}))?", term)
        triples = re.findall(r"\((\d+),(\d+),(\d+)\)", found[1]) if found else [(0, 0, 0)]
        layers += [tuple(map(int, triple)) for triple in triples] * int((found and found[2]) or 1)
    widths = {layer[0] for layer in layers}
    implemented = list(zip(WaveformFrontend.kernels, WaveformFrontend.strides, strict=True))
    if len(widths) != 1 or [layer[1:] for layer in layers] != implemented:
        raise CheckpointError(
            f"{source.name}: conv_feature_layers is {shorten(text)}; zoo's HuBERT implements {_CONV_LAYERS!r} in one "
            "width"
        )
    return widths.pop()


def _unit_head(
    source: ForeignSource, tensors: dict[str, Tensor], dictionaries: list[list[str]], model: dict[str, Any]
) -> dict[str, Any]:
    """Bring codes and projection of the unit head into zoo's form, in place; returns the config fields of the head."""
    codes, weight = tensors["head.codes"], tensors["head.projection.weight"]  # (sum K, unit_dim), (..., D)
    sizes = [len(symbols) for symbols in dictionaries] or [len(codes)]
    if sum(sizes) != len(codes):
        raise CheckpointError(
            f"{source.name}: label_embs_concat has {len(codes)} rows, its dictionaries {shorten(sizes)} symbols"
        )
    if not dictionaries and len(weight) != codes.shape[1]:
        raise CheckpointError(
            f"{source.name}: several codebooks in label_embs_concat, but no dictionaries to part them"
        )
    rows: list[int] = []
    start = 0
    for place, size in enumerate(sizes):
        rows += [start + row for row in _unit_rows(dictionaries[place] if dictionaries else None, size)]
        start += size
    tensors["head.codes"] = codes[rows]
    if not model.get("untie_final_proj", False):  # one projection for all codebooks; ours has one for each
        for name in ("head.projection.weight", "head.projection.bias"):
            tensors[name] = torch.cat([tensors[name]] * len(sizes))
    return {"units": tuple(size - _SPECIALS for size in sizes), "unit_dim": codes.shape[1]}


def _unit_rows(symbols: list[str] | None, size: int) -> list[int]:
    """Rows of units 0, 1, 2, ... within one codebook. The dictionary file may have listed them in another order."""
    rows = list(range(_SPECIALS, size))
    if symbols is not None and set(symbols[_SPECIALS:]) == set(map(str, range(size - _SPECIALS))):
        rows.sort(key=lambda row: int(symbols[row]))
    return rows


def _dictionaries(state: Any, steps: Iterator[int] | None = None) -> list[list[str]]:
    """Symbols of every fairseq Dictionary in task_state, which keeps them alone, in a list or by label name."""
    steps = _next_step(steps)
    if isinstance(state, StubObject):
        symbols = state.state.get("symbols") if isinstance(state.state, Mapping) else None
        return [list(symbols)] if symbols else []
    parts = state.values() if isinstance(state, Mapping) else state if isinstance(state, list) else ()
    found = []
    for part in parts:
        found += _dictionaries(part, steps)
    return found


def _vocabulary(source: ForeignSource, dictionaries: list[list[str]], size: int) -> tuple[str, ...]:
    """Symbols of the CTC outputs, from the checkpoint or from dict.ltr.txt beside it."""
    fitting = [symbols for symbols in dictionaries if len(symbols) == size]
    beside = Path(source.path).with_name("dict.ltr.txt")
    if not fitting and beside.is_file():
        letters = [line.rsplit(" ", 1)[0] for line in read_text(beside).splitlines() if line.strip()]
        fitting = [["<s>", "<pad>", "</s>", "<unk>", *letters]]
    if not fitting or len(fitting[-1]) != size:
        raise CheckpointError(
            f"{source.name}: no dictionary with the {size} symbols of the CTC head, neither in the checkpoint nor in "
            f"{beside}; put fairseq's dict.ltr.txt there"
        )
    return tuple(fitting[-1])


def plain(value: Any, steps: Iterator[int] | None = None) -> Any:
    """Records of argparse.Namespace, OmegaConf nodes and enumerations -> dictionaries, lists and scalars.

    Raises CheckpointError for more values than a configuration has: a pickle of a few lists that share their items
    stands for billions of them.
    """
    steps = _next_step(steps)
    if isinstance(value, Mapping):
        return {key: plain(item, steps) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, steps) for item in value]
    if not isinstance(value, StubObject):
        return value
    state = value.state if isinstance(value.state, Mapping) else {}
    if value.kind.startswith("omegaconf."):
        return plain(state.get("_content", state.get("_val")), steps)
    if len(value.args) == 1:
        return plain(value.args[0], steps)  # an enumeration's member, by its value
    return plain(state, steps)


def _next_step(steps: Iterator[int] | None) -> Iterator[int]:
    """The steps that are left after this one. Raises CheckpointError if none is."""
    steps = iter(range(_MOST_VALUES)) if steps is None else steps
    if next(steps, None) is None:
        raise CheckpointError(f"its configuration has more than {_MOST_VALUES:,} values; it is damaged")
    return steps
