"""BERT of Hugging Face (BertModel and the models with heads on top of it) -> the text tower of MuLan.

Legend: D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from zoo.errors import CheckpointError
from zoo.importers.source import fuse_attention, rename
from zoo.io.text import shorten

# Argument of TextTower: (theirs, their default, for configurations that leave it out).
_FIELDS = {
    "vocab": ("vocab_size", 30_522),
    "dim": ("hidden_size", 768),
    "layers": ("num_hidden_layers", 12),
    "heads": ("num_attention_heads", 12),
    "ffn_dim": ("intermediate_size", 3072),
    "positions": ("max_position_embeddings", 512),
    "dropout": ("hidden_dropout_prob", 0.1),
    "attention_dropout": ("attention_probs_dropout_prob", 0.1),
}
# What must hold, because it is the only thing implemented. All are the defaults of transformers too.
_IMPLEMENTED = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
_BLOCK = r"encoder\.layer\.(\d+)\."
_RULES = (
    (r"embeddings\.word_embeddings\.weight", "words.weight"),
    (r"embeddings\.position_embeddings\.weight", "positions.weight"),
    (r"embeddings\.token_type_embeddings\.weight", "segment"),
    (r"embeddings\.LayerNorm\.", "transformer.norm."),
    (_BLOCK + r"attention\.self\.(q|k|v)(?:uery|ey|alue)\.(weight|bias)", r"transformer.blocks.\1.attention.\2.\3"),
    (_BLOCK + r"attention\.output\.dense\.(weight|bias)", r"transformer.blocks.\1.attention.out.\2"),
    (_BLOCK + r"attention\.output\.LayerNorm\.", r"transformer.blocks.\1.attention_norm."),
    (_BLOCK + r"intermediate\.dense\.(weight|bias)", r"transformer.blocks.\1.ffn.up.\2"),
    (_BLOCK + r"output\.dense\.(weight|bias)", r"transformer.blocks.\1.ffn.down.\2"),
    (_BLOCK + r"output\.LayerNorm\.", r"transformer.blocks.\1.ffn_norm."),
)
# The pooler and the heads of pre-training, on top of the states we want; two buffers of constants.
_LEFT_OUT = ("pooler.", "cls.", "embeddings.position_ids", "embeddings.token_type_ids")


def bert_arguments(config: Mapping[str, Any], *, source: str = "config.json") -> dict[str, Any]:
    """Arguments of TextTower for a BertConfig, as config.json holds it. The tensors alone do not tell the heads.

    Raises CheckpointError for what zoo does not implement.
    """
    for field, expected in _IMPLEMENTED.items():
        if config.get(field, expected) != expected:
            raise CheckpointError(f"{source}: {field} is {shorten(config[field])}; zoo implements {expected!r} only")
    return {ours: config.get(field, default) for ours, (field, default) in _FIELDS.items()}


def bert_tensors(tensors: Mapping[str, Tensor], *, source: str = "BERT") -> dict[str, Tensor]:
    """Tensors of a BertModel, with or without the prefix `bert.`, under the names of TextTower.

    Pooler and pre-training heads are left out; of the two segment embeddings the first, the one that a single text has.
    LayerNorms may call their tensors gamma and beta, as those converted from TensorFlow do.
    Raises CheckpointError listing every tensor that has no place; `checkpoint.assign` lists what is missing.
    """
    wanted = {name: tensor for name, tensor in tensors.items() if not name.removeprefix("bert.").startswith(_LEFT_OUT)}
    renamed = rename(wanted, list(_spellings()), source=source)
    fuse_attention(renamed, source=source)
    if "segment" in renamed:
        renamed["segment"] = renamed["segment"][0]  # (D,)
    return renamed


def _spellings() -> Iterator[tuple[str, str]]:
    """The rules, for names with and without prefix and for both pairs of names in a LayerNorm."""
    for pattern, replacement in _RULES:
        if pattern.endswith(r"LayerNorm\."):
            yield rf"(?:bert\.)?{pattern}(?:weight|gamma)", f"{replacement}weight"
            yield rf"(?:bert\.)?{pattern}(?:bias|beta)", f"{replacement}bias"
        else:
            yield rf"(?:bert\.)?{pattern}", replacement
