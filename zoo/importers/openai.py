"""Checkpoints of openai-whisper: one .pt file with `dims` and `model_state_dict`.

It holds no tokenizer; see `find_tokenizer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from zoo.errors import CheckpointError
from zoo.importers.source import Foreign, ForeignSource
from zoo.importers.whisper_names import published_alignment_heads, whisper_tensors, with_tokenizer
from zoo.importers.whisper_vocabulary import find_tokenizer
from zoo.io.text import shorten

_FIELDS = {
    "mels": "n_mels",
    "audio_ctx": "n_audio_ctx",
    "dim": "n_audio_state",
    "heads": "n_audio_head",
    "encoder_layers": "n_audio_layer",
    "decoder_heads": "n_text_head",
    "decoder_layers": "n_text_layer",
    "text_ctx": "n_text_ctx",
    "vocab_size": "n_vocab",
}
_BLOCK = r"(encoder|decoder)\.blocks\.(\d+)\."
_OURS = r"\1.blocks.\2."
_CROSS = r"decoder\.blocks\.(\d+)\.cross_attn"
_RULES = (
    (r"encoder\.conv1\.(weight|bias)", r"encoder.conv_in.\1"),
    (r"encoder\.conv2\.(weight|bias)", r"encoder.conv_out.\1"),
    (r"encoder\.positional_embedding", "encoder.positions"),
    (r"encoder\.ln_post\.(weight|bias)", r"encoder.transformer.norm.\1"),
    (r"decoder\.token_embedding\.weight", "decoder.tokens.weight"),
    (r"decoder\.positional_embedding", "decoder.positions"),
    (r"decoder\.ln\.(weight|bias)", r"decoder.norm.\1"),
    (_BLOCK + r"attn\.([qkv])(?:uery|ey|alue)\.(weight|bias)", _OURS + r"attention.\3.\4"),
    (_BLOCK + r"attn\.out\.(weight|bias)", _OURS + r"attention.out.\3"),
    (_BLOCK + r"attn_ln\.(weight|bias)", _OURS + r"attention_norm.\3"),
    (_CROSS + r"\.query\.(weight|bias)", r"decoder.blocks.\1.cross.query.\2"),
    (_CROSS + r"\.([kv])(?:ey|alue)\.(weight|bias)", r"decoder.blocks.\1.cross.\2.\3"),
    (_CROSS + r"\.out\.(weight|bias)", r"decoder.blocks.\1.cross.out.\2"),
    (_CROSS + r"_ln\.(weight|bias)", r"decoder.blocks.\1.cross_norm.\2"),
    (_BLOCK + r"mlp\.0\.(weight|bias)", _OURS + r"ffn.up.\3"),
    (_BLOCK + r"mlp\.2\.(weight|bias)", _OURS + r"ffn.down.\3"),
    (_BLOCK + r"mlp_ln\.(weight|bias)", _OURS + r"ffn_norm.\3"),
)


def read(source: ForeignSource) -> Foreign:
    """The Whisper of an openai-whisper checkpoint. The file's name gives its alignment heads.

    Raises CheckpointError for tensors or dims that are missing, unexpected or not supported.
    """
    dims, tensors = source.content["dims"], source.content["model_state_dict"]
    if not isinstance(dims, Mapping) or not isinstance(tensors, Mapping):
        raise CheckpointError(f"{source.name}: `dims` and `model_state_dict` must be mappings")
    missing = [theirs for theirs in _FIELDS.values() if not isinstance(dims.get(theirs), int)]
    if missing:
        raise CheckpointError(f"{source.name}: dims lacks {', '.join(missing)}")
    if dims["n_audio_state"] != dims.get("n_text_state", dims["n_audio_state"]):
        raise CheckpointError(f"{source.name}: encoder and decoder differ in width; zoo's Whisper has one width")
    config: dict[str, Any] = {ours: dims[theirs] for ours, theirs in _FIELDS.items()}
    config["alignment_heads"] = published_alignment_heads(source.path.stem)
    not_tensors = [name for name, tensor in tensors.items() if not isinstance(tensor, Tensor)]
    if not_tensors:
        raise CheckpointError(
            f"{source.name}: {', '.join(map(shorten, not_tensors[:5]))} in model_state_dict are no tensors"
        )
    # Files that are saved from `model.state_dict()` hold the causal mask or the alignment heads as buffers.
    weights = {name: tensor for name, tensor in tensors.items() if name not in ("decoder.mask", "alignment_heads")}
    renamed = whisper_tensors(weights, _RULES, source=source.name)
    foreign = Foreign("whisper", config, renamed, "openai-whisper")
    return with_tokenizer(foreign, find_tokenizer(source.path.parent, dims["n_vocab"]), source=source.name)
