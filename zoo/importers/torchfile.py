"""Files of `torch.save`, read as plain data: tensors and containers are built, all else becomes an inert `StubObject`.

No code of the file runs: see `zoo.importers.pickled`.

Both layouts are understood: the zip archive (torch >= 1.6) and the stream of pickles before it. Tensors of a zip
archive are mapped from the file, so that an optimizer state three times the size of the weights costs nothing.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from zoo.errors import CheckpointError
from zoo.importers.pickled import Unpickler
from zoo.io.small_files import LFS_ADVICE, is_lfs_pointer
from zoo.io.text import shorten

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch/serialization.py, MAGIC_NUMBER
_FEW_ELEMENTS, _MOST_SHARED = 1 << 20, 64
_ZIP_HEADER = 30  # bytes of a local file header before its name and extra field


def read(path: str | Path) -> Any:
    """Content of a `torch.save` file. Tensors are on the CPU, in the file's dtypes.

    Raises CheckpointError: no such file, not such a file, damaged, or of a layout that is not understood.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            start = file.read(2)
            file.seek(0)
            if start == b"PK":
                return _read_zip(file)
            if start[:1] == b"\x80":
                return _read_legacy(file)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle fails in any way it likes
        raise CheckpointError(
            f"{path}: damaged, or not a checkpoint ({type(error).__name__}: {_reason(error)}); download it again"
        ) from error
    if is_lfs_pointer(path):
        raise CheckpointError(f"{path}: {LFS_ADVICE}")
    raise CheckpointError(f"{path}: neither a zip archive nor a pickle, so not a file of torch.save")


def _reason(error: Exception) -> str:
    """The message of an error; that of a KeyError is the repr of a value of the file."""
    return shorten(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _read_zip(file: IO[bytes]) -> Any:
    archive = zipfile.ZipFile(file)
    names = {name.partition("/")[2]: name for name in archive.namelist()}
    if "data.pkl" not in names or any(name.startswith("code/") for name in names):
        raise CheckpointError("a zip archive, but not one of torch.save (a TorchScript module has no readable weights)")
    for name in ("data.pkl", "byteorder"):
        if name in names and archive.getinfo(names[name]).compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(f"{name} is compressed, which torch.save never does")
    if "byteorder" in names and archive.read(names["byteorder"]).decode() != sys.byteorder:
        raise CheckpointError(f"written on a machine of another byte order than this one ({sys.byteorder}-endian)")
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    storages: dict[str, Tensor] = {}

    def storage(key: str, dtype: torch.dtype, numel: int) -> Tensor:
        if key not in storages:
            info = archive.getinfo(names[f"data/{key}"])
            if info.compress_type != zipfile.ZIP_STORED or numel * dtype.itemsize > info.file_size:
                raise CheckpointError(f"storage {key} is compressed or shorter than its tensors")
            name_size, extra_size = struct.unpack_from("<HH", mapped, info.header_offset + _ZIP_HEADER - 4)
            offset = info.header_offset + _ZIP_HEADER + name_size + extra_size
            if offset + numel * dtype.itemsize > len(mapped):
                raise CheckpointError(f"storage {key} is cut off")
            storages[key] = _view(mapped, dtype, numel, offset)
        return storages[key]

    with archive.open(names["data.pkl"]) as pickled:
        content = _load(Unpickler(pickled, storage), storages)
    if sum(flat.nbytes for flat in storages.values()) > len(mapped):
        raise CheckpointError("its storages share their bytes")
    return content


def _read_legacy(file: IO[bytes]) -> Any:
    storages: dict[str, Tensor] = {}

    size = os.fstat(file.fileno()).st_size

    def storage(key: str, dtype: torch.dtype, numel: int) -> Tensor:
        if key not in storages:
            if numel * dtype.itemsize > size:
                raise CheckpointError(f"storage {key} has more elements than the file has room for")
            storages[key] = torch.empty(numel, dtype=dtype)
        return storages[key]

    magic, _, system = (Unpickler(file, storage).load() for _ in range(3))
    if magic != _LEGACY_MAGIC:
        raise CheckpointError("a plain pickle, not a file of torch.save")
    if system.get("little_endian", True) != (sys.byteorder == "little"):
        raise CheckpointError(f"written on a machine of another byte order than this one ({sys.byteorder}-endian)")
    content = _load(Unpickler(file, storage), storages)
    # The bytes of the storages follow, each after its number of elements, in the order of this list.
    order = Unpickler(file, storage).load()
    missing = storages.keys() - set(order)
    if missing:
        raise CheckpointError(f"the bytes of storage {min(missing)} are missing")
    for key in order:
        flat = storages[key]
        numel = struct.unpack("<q", file.read(8))[0]
        data = bytearray(file.read(flat.nbytes))
        if numel != len(flat) or len(data) != flat.nbytes:
            raise CheckpointError(f"storage {key} is shorter than its tensors")
        flat.copy_(_view(data, flat.dtype, numel, 0))
    return content


def _load(unpickler: Unpickler, storages: Mapping[str, Tensor]) -> Any:
    """The content. Raises CheckpointError if its tensors are the same bytes many times over; tied weights are twice."""
    content = unpickler.load()
    stored = sum(len(flat) for flat in storages.values())
    if unpickler.elements > _FEW_ELEMENTS + _MOST_SHARED * stored:
        raise CheckpointError(f"its tensors share their bytes, more than {_MOST_SHARED} times")
    return content


def _view(buffer: mmap.mmap | bytearray, dtype: torch.dtype, numel: int, offset: int) -> Tensor:
    if numel == 0:
        return torch.empty(0, dtype=dtype)
    return torch.frombuffer(buffer, dtype=dtype, count=numel, offset=offset)
