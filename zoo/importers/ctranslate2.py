"""CTranslate2 directories of Whisper, the format of faster-whisper: config.json, model.bin and a vocabulary.

model.bin, little-endian: u32 version, spec name, u32 revision, u32 count; for each variable its name, u8 rank, u32
sizes, u8 type, u32 bytes, data; then u32 count of aliases and (alias, name) pairs. A string is a u16 length and that
many bytes, the last one zero. Each integer weight has a `<name>_scale`, by which it was multiplied. Settings are
variables of rank 0; each version of CTranslate2 adds some.
"""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.errors import CheckpointError
from zoo.importers.source import Foreign, ForeignSource
from zoo.importers.whisper_names import drop_output, whisper_tensors, with_tokenizer
from zoo.importers.whisper_vocabulary import find_tokenizer, read_tokenizer
from zoo.io.small_files import LFS_ADVICE, check_regular, is_lfs_pointer
from zoo.io.text import shorten

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


def read(source: ForeignSource) -> Foreign:
    """The Whisper of a CTranslate2 directory; int8 and int16 weights become float32.

    Raises CheckpointError if model.bin is missing, damaged, of another version or not a Whisper.
    """
    path = source.path / "model.bin"
    variables, aliases = _read_variables(path)
    try:
        heads = int(variables["encoder/num_heads"]), int(variables["decoder/num_heads"])
    except KeyError as error:
        raise CheckpointError(f"{path}: has no variable {error}, so it is not a complete Whisper") from None
    if alibi := [name for name, value in variables.items() if name.endswith("/alibi") and value.any()]:
        raise CheckpointError(f"{path}: {alibi[0]} is set; zoo's Whisper has learned positions only")
    named = {_norm_name(name): value for name, value in _weights(path, variables, aliases).items()}
    drop_output(named, "decoder/projection/weight", "decoder/embeddings/weight", source=str(path))
    tensors = whisper_tensors(named, _RULES, source=str(path))
    config = _config(path, tensors, heads) | {"alignment_heads": source.content.get("alignment_heads") or ()}
    tokenizer = read_tokenizer(source.path) or find_tokenizer(source.path, config["vocab_size"])
    return with_tokenizer(Foreign("whisper", config, tensors, "CTranslate2"), tokenizer, source=source.name)


def _config(path: Path, tensors: dict[str, Tensor], heads: tuple[int, int]) -> dict[str, Any]:
    """The configuration; all values except the heads come from the shapes of the weights."""
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
        raise CheckpointError(f"{path}: the weights of {error} are missing, so it is not a complete Whisper") from None


def _norm_name(name: str) -> str:
    return name.replace("/gamma", "/weight").replace("/beta", "/bias")


def _weights(path: Path, variables: dict[str, Tensor], aliases: dict[str, str]) -> dict[str, Tensor]:
    """All weights as floating point, without settings and scales. Aliases are copies."""
    names = [name for name, value in variables.items() if value.ndim and not name.endswith("_scale")]
    out = {name: _unscaled(path, name, variables) for name in names}
    for alias, name in aliases.items():
        if name in out:
            out[alias] = out[name].clone()
        elif name not in variables:
            raise CheckpointError(f"{path}: {alias} refers to {name}, which does not exist: the file is damaged")
    return out


def _unscaled(path: Path, name: str, variables: dict[str, Tensor]) -> Tensor:
    """A weight. Integers become float32, divided by one scale for each row (int8) or one for all (int16)."""
    value, scale = variables[name], variables.get(f"{name}_scale")
    if scale is None:
        if not value.is_floating_point():
            raise CheckpointError(f"{path}: {name} is {value.dtype} without a {name}_scale: convert the model again")
        return value
    if scale.numel() not in (1, len(value)):
        raise CheckpointError(f"{path}: {name}_scale has {scale.numel()} numbers for {len(value)} rows")
    return value.float() / scale.float().reshape(-1, *[1] * (value.ndim - 1))


def _read_variables(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Name -> variable, and alias -> name."""
    check_regular(path)
    if is_lfs_pointer(path):
        raise CheckpointError(f"{path}: {LFS_ADVICE}")
    try:
        with path.open("rb") as file:
            reader = _BinaryReader(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    try:
        version = reader.number("I")
        if version != _VERSION:
            raise CheckpointError(f"{path}: binary version {version}; zoo reads version {_VERSION}: convert it again")
        spec, _ = reader.string(), reader.number("I")
        if spec != _SPEC:
            raise CheckpointError(f"{path}: holds a {shorten(spec)}, not a {_SPEC}")
        variables = dict(reader.variable() for _ in range(reader.number("I")))
        return variables, {reader.string(): reader.string() for _ in range(reader.number("I"))}
    except (struct.error, ValueError, LookupError) as error:
        raise CheckpointError(f"{path}: damaged, or cut off ({error})") from error


class _BinaryReader:
    """Reads values one after the other from mapped bytes."""

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
        count = math.prod(shape)
        if size != count * dtype.itemsize:
            raise ValueError(f"{name} has {size} bytes for {tuple(shape)} numbers of {dtype}")
        if self.offset > len(self.data):
            raise ValueError(f"{name} reaches past the end of the file")
        # Variables are not aligned in the file, and unaligned tensors are slow or refused.
        flat = torch.frombuffer(bytearray(self.data[start : self.offset]), dtype=dtype, count=count)
        return name, flat.reshape(shape)
