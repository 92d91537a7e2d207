"""CTranslate2 directories of Whisper, as faster-whisper uses them: config.json, model.bin and tokenizer.json.

model.bin, little-endian: u32 version, spec name, u32 revision, u32 count; for each variable its name, u8 rank, u32
sizes, u8 type, u32 bytes, data; then u32 count of aliases and (alias, name) pairs. A string is a u16 length and that
many bytes, the last of them zero. Integer weights stand beside a `<name>_scale` that they were multiplied by.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.errors import CheckpointError
from zoo.importers.source import Foreign, Source
from zoo.importers.whisper_names import read_tokenizer, whisper_tensors

_VERSION = 6
_SPEC = "WhisperSpec"
_TYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)

_ATTENTION = r"(encoder|decoder)/layer_(\d+)/self_attention/"
_CROSS = r"decoder/layer_(\d+)/attention/"
_FFN = r"(encoder|decoder)/layer_(\d+)/ffn/"
_RULES = (
    (r"encoder/conv1/(weight|bias)", r"encoder.conv_in.\1"),
    (r"encoder/conv2/(weight|bias)", r"encoder.conv_out.\1"),
    (r"encoder/position_encodings/encodings", "encoder.positions"),
    (r"decoder/position_encodings/encodings", "decoder.positions"),
    (r"decoder/embeddings/weight", "decoder.tokens.weight"),
    (r"encoder/layer_norm/(\w+)", r"encoder.transformer.norm.\1"),
    (r"decoder/layer_norm/(\w+)", r"decoder.norm.\1"),
    (_ATTENTION + r"layer_norm/(\w+)", r"\1.blocks.\2.attention_norm.\3"),
    (_ATTENTION + r"linear_0/(\w+)", r"\1.blocks.\2.attention.qkv.\3"),
    (_ATTENTION + r"linear_1/(\w+)", r"\1.blocks.\2.attention.out.\3"),
    (_CROSS + r"layer_norm/(\w+)", r"decoder.blocks.\1.cross_norm.\2"),
    (_CROSS + r"linear_0/(\w+)", r"decoder.blocks.\1.cross.query.\2"),
    (_CROSS + r"linear_1/(\w+)", r"decoder.blocks.\1.cross.kv.\2"),
    (_CROSS + r"linear_2/(\w+)", r"decoder.blocks.\1.cross.out.\2"),
    (_FFN + r"layer_norm/(\w+)", r"\1.blocks.\2.ffn_norm.\3"),
    (_FFN + r"linear_0/(\w+)", r"\1.blocks.\2.ffn.up.\3"),
    (_FFN + r"linear_1/(\w+)", r"\1.blocks.\2.ffn.down.\3"),
)
# Settings beside the weights, all with the only value that Whisper has; heads are read before.
_SETTINGS = ("activation", "alibi", "alignment_heads", "alignment_layer", "num_heads", "pre_norm", "scale_embeddings")
_LEFT_OUT = (*_SETTINGS, "start_from_zero_embedding", "num_languages", "multi_query_attention")


def read(source: Source) -> Foreign:
    """The Whisper of a CTranslate2 directory; int8 and int16 weights are scaled back.

    Raises CheckpointError: model.bin is missing, damaged, of another version or no Whisper.
    """
    path = source.path / "model.bin"
    variables = _read_variables(path)
    try:
        heads = int(variables["encoder/num_heads"]), int(variables["decoder/num_heads"])
    except KeyError as error:
        raise CheckpointError(f"{path}: has no variable {error}, so it is no complete Whisper") from None
    weights = {name: value for name, value in variables.items() if name.rpartition("/")[2] not in _LEFT_OUT}
    named = {_norm_name(name): value for name, value in _unscaled(weights).items()}
    tensors = whisper_tensors(named, _RULES, source=str(path))
    config = _config(path, tensors, heads) | {"alignment_heads": source.content.get("alignment_heads") or ()}
    return Foreign("whisper", config, tensors, "CTranslate2", tokenizer=read_tokenizer(source.path))


def _config(path: Path, tensors: dict[str, Tensor], heads: tuple[int, int]) -> dict[str, Any]:
    """The dimensions, all but the heads from the shapes of the weights."""
    try:
        dim, mels, _ = tensors["encoder.conv_in.weight"].shape
        return {
            "mels": mels,
            "dim": dim,
            "heads": heads[0],
            "decoder_heads": heads[1],
            "audio_ctx": len(tensors["encoder.positions"]),
            "text_ctx": len(tensors["decoder.positions"]),
            "vocab_size": len(tensors["decoder.tokens.weight"]),
            "encoder_layers": sum(name.endswith("attention.qkv.bias") and name[0] == "e" for name in tensors),
            "decoder_layers": sum(name.endswith("attention.qkv.bias") and name[0] == "d" for name in tensors),
        }
    except KeyError as error:
        raise CheckpointError(f"{path}: the weights of {error} are missing, so it is no complete Whisper") from None


def _norm_name(name: str) -> str:
    return name.replace("/gamma", "/weight").replace("/beta", "/bias")


def _unscaled(variables: dict[str, Tensor]) -> dict[str, Tensor]:
    """Integer weights as float32: divided by their scales, one for each row (int8) or one for all (int16)."""
    out = {}
    for name, value in variables.items():
        if name.endswith("_scale"):
            continue
        scale = variables.get(f"{name}_scale")
        if scale is not None:
            value = value.float() / scale.float().reshape(-1, *[1] * (value.ndim - 1))
        out[name] = value
    return out


def _read_variables(path: Path) -> dict[str, Tensor]:
    """Variables by name; aliases are left out. Large ones are mapped from the file."""
    try:
        with path.open("rb") as file:
            reader = _Reader(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    try:
        version = reader.number("I")
        if version != _VERSION:
            raise CheckpointError(f"{path}: binary version {version}; zoo reads version {_VERSION}: convert it again")
        spec, _ = reader.string(), reader.number("I")
        if spec != _SPEC:
            raise CheckpointError(f"{path}: holds a {spec!r}, not a {_SPEC}")
        return dict(reader.variable() for _ in range(reader.number("I")))
    except (struct.error, ValueError, IndexError) as error:
        raise CheckpointError(f"{path}: damaged, or cut off ({error})") from error


class _Reader:
    """Values one after the other from mapped bytes."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.offset = data, 0

    def number(self, kind: str) -> int:
        value = struct.unpack_from(f"<{kind}", self.data, self.offset)[0]
        self.offset += struct.calcsize(f"<{kind}")
        return int(value)

    def string(self) -> str:
        size = self.number("H")
        start, self.offset = self.offset, self.offset + size
        return self.data[start : start + size].rstrip(b"\0").decode("utf-8")

    def variable(self) -> tuple[str, Tensor]:
        name = self.string()
        shape = [self.number("I") for _ in range(self.number("B"))]
        dtype = _TYPES[self.number("B")]
        size = self.number("I")
        start, self.offset = self.offset, self.offset + size
        count = size // dtype.itemsize
        if self.offset > len(self.data):
            raise ValueError(f"{name} reaches past the end of the file")
        # Variables are not aligned in the file, and unaligned tensors are slow or refused.
        flat = torch.frombuffer(bytearray(self.data[start : self.offset]), dtype=dtype, count=count)
        return name, flat.reshape(shape)
