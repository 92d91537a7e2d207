"""Hugging Face directories of WhisperForConditionalGeneration, and of WhisperModel, which has no output projection.

A configuration is either implemented exactly as in `transformers`, or an error names the unsupported field.
"""

from __future__ import annotations

from typing import Any

from zoo.errors import CheckpointError
from zoo.importers.hf import license_of
from zoo.importers.source import Foreign, ForeignSource, read_weights
from zoo.importers.whisper_names import drop_output, whisper_tensors, with_tokenizer
from zoo.importers.whisper_vocabulary import read_tokenizer
from zoo.io.small_files import read_json
from zoo.io.text import shorten

# Our field: (their field, its default).
_FIELDS: dict[str, tuple[str, Any]] = {
    "mels": ("num_mel_bins", 80),
    "audio_ctx": ("max_source_positions", 1500),
    "dim": ("d_model", 384),
    "heads": ("encoder_attention_heads", 6),
    "decoder_heads": ("decoder_attention_heads", 6),
    "encoder_layers": ("encoder_layers", 4),
    "decoder_layers": ("decoder_layers", 4),
    "text_ctx": ("max_target_positions", 448),
    "vocab_size": ("vocab_size", 51_865),
}
# Fields with a single supported value, which is the default of transformers.
_IMPLEMENTED: dict[str, Any] = {"activation_function": "gelu", "scale_embedding": False, "tie_word_embeddings": True}
_BLOCK = r"(encoder|decoder)\.layers\.(\d+)\."
_OURS = r"\1.blocks.\2."
_CROSS = r"decoder\.layers\.(\d+)\.encoder_attn"
_RULES = (
    (r"encoder\.conv1\.(weight|bias)", r"encoder.conv_in.\1"),
    (r"encoder\.conv2\.(weight|bias)", r"encoder.conv_out.\1"),
    (r"encoder\.embed_positions\.weight", "encoder.positions"),
    (r"encoder\.layer_norm\.(weight|bias)", r"encoder.transformer.norm.\1"),
    (r"decoder\.embed_tokens\.weight", "decoder.tokens.weight"),
    (r"decoder\.embed_positions\.weight", "decoder.positions"),
    (r"decoder\.layer_norm\.(weight|bias)", r"decoder.norm.\1"),
    (_BLOCK + r"self_attn\.([qkv])_proj\.(weight|bias)", _OURS + r"attention.\3.\4"),
    (_BLOCK + r"self_attn\.out_proj\.(weight|bias)", _OURS + r"attention.out.\3"),
    (_BLOCK + r"self_attn_layer_norm\.(weight|bias)", _OURS + r"attention_norm.\3"),
    (_CROSS + r"\.q_proj\.(weight|bias)", r"decoder.blocks.\1.cross.query.\2"),
    (_CROSS + r"\.([kv])_proj\.(weight|bias)", r"decoder.blocks.\1.cross.\2.\3"),
    (_CROSS + r"\.out_proj\.(weight|bias)", r"decoder.blocks.\1.cross.out.\2"),
    (_CROSS + r"_layer_norm\.(weight|bias)", r"decoder.blocks.\1.cross_norm.\2"),
    (_BLOCK + r"fc1\.(weight|bias)", _OURS + r"ffn.up.\3"),
    (_BLOCK + r"fc2\.(weight|bias)", _OURS + r"ffn.down.\3"),
    (_BLOCK + r"final_layer_norm\.(weight|bias)", _OURS + r"ffn_norm.\3"),
)


def read(source: ForeignSource) -> Foreign:
    """The Whisper of a Hugging Face directory, with its tokenizer if there is one.

    Raises CheckpointError for tensors or fields that are missing, damaged, unexpected or not supported.
    """
    config = _config(source)
    tensors = {name.removeprefix("model."): tensor for name, tensor in read_weights(source.path).items()}
    drop_output(tensors, "proj_out.weight", "decoder.embed_tokens.weight", source=source.name)
    tensors = whisper_tensors(tensors, _RULES, source=source.name)
    notes = {"license": license} if (license := license_of(source.path / "README.md")) else {}
    foreign = Foreign("whisper", config, tensors, "Hugging Face", notes)
    return with_tokenizer(foreign, read_tokenizer(source.path), source=source.name)


def _config(source: ForeignSource) -> dict[str, Any]:
    theirs, file = source.content, source.path / "config.json"
    for field, expected in _IMPLEMENTED.items():
        if theirs.get(field, expected) != expected:
            raise CheckpointError(
                f"{file}: {field} is {shorten(theirs[field])}; zoo's Whisper implements {expected!r} only"
            )
    config = {ours: theirs.get(field, default) for ours, (field, default) in _FIELDS.items()}
    for field in ("encoder_ffn_dim", "decoder_ffn_dim"):
        if theirs.get(field, 4 * config["dim"]) != 4 * config["dim"]:
            raise CheckpointError(f"{file}: {field} is {shorten(theirs[field])}; zoo's Whisper has 4 x d_model there")
    generation = source.path / "generation_config.json"
    alignment_heads = read_json(generation).get("alignment_heads") if generation.is_file() else None
    return config | {"alignment_heads": alignment_heads or ()}
