"""Files of `torch.save`, read as plain data: tensors and containers are built, all else becomes an inert `StubObject`.

A pickle is a program that may call any function it can name. Here it can name very few: dictionaries, sets, and the
functions that shape a tensor out of bytes. Whatever else it asks for (argparse.Namespace, OmegaConf nodes, classes of
packages that are not installed, os.system) turns into a `StubObject` that keeps the name, the arguments and the state,
and does nothing. Reading a foreign checkpoint therefore runs no code of it, and needs no package of its author.

Both layouts are understood: the zip archive (torch >= 1.6) and the stream of pickles before it. Tensors of a zip
archive are mapped from the file, so that an optimizer state three times the size of the weights costs nothing.
"""

from __future__ import annotations

import mmap
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, ClassVar

import torch
from torch import Tensor

from zoo.errors import CheckpointError
from zoo.io.small_files import LFS_ADVICE, is_lfs_pointer
from zoo.io.text import shorten

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch/serialization.py, MAGIC_NUMBER
_ZIP_HEADER = 30  # bytes of a local file header before its name and extra field
_MOST_IN_TUPLE = 10_000
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class StubObject:
    """Stand-in for an object that is not built: what the file said about it, as data.

    kind: dotted name the file used ("argparse.Namespace"); args: what its constructor would have been called with;
    state: what would have become its attributes; items: what would have been put into it as a list or mapping.
    """

    kind: ClassVar[str] = ""
    args: tuple[Any, ...]
    state: Any
    items: list[Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> StubObject:
        record = super().__new__(cls)
        record.args, record.state, record.items = args, kwargs or None, []
        return record

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Everything is kept by __new__; nothing is done with it."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))

    def append(self, value: Any) -> None:
        self.items.append(value)

    def extend(self, values: Sequence[Any]) -> None:
        self.items.extend(values)

    def __repr__(self) -> str:
        return f"StubObject({self.kind})"


class _Mapping(dict[Any, Any]):
    """OrderedDict and its kin; attributes hung onto one (a state_dict's _metadata) are dropped."""

    def __init__(self, items: Any = ()) -> None:
        super().__init__(items)

    def __setstate__(self, state: Any) -> None:
        pass


class _Unpickler(pickle._Unpickler):
    """The unpickler. `storage(key, dtype, numel)` gives the flat tensor that holds the bytes of one storage.

    Derived from Python's own and not from the one in C, which allocates whatever a damaged file asks for (64 GB for one
    wrong byte in a memo number). A checkpoint has some ten thousand opcodes, so speed does not matter.

    What it lends to a pickle are its own bound methods and fresh classes, so that a hostile file which sets attributes
    on them changes nothing that outlives this reader.
    """

    def __init__(self, file: IO[bytes], storage: Callable[[str, torch.dtype, int], Tensor]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storage = storage
        self._kinds: dict[str, type[StubObject]] = {}
        self._sizes: dict[int, tuple[Any, int]] = {}  # of tuples in tuples; they are kept, so that ids stay theirs
        self._known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): _Mapping,
            ("collections", "Counter"): _Mapping,
            ("collections", "defaultdict"): self._defaultdict,
            ("builtins", "set"): set,
            ("__builtin__", "set"): set,
            ("torch", "Size"): self._size,
            ("torch._utils", "_rebuild_tensor"): self._tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
            **{("torch", name): dtype for name, dtype in _STORAGES.items()},
        }

    stack: list[Any]  # of Python's own unpickler

    def load_build(self) -> None:
        """Give an object its state. Only stand-ins take one: a tensor or a function would run code of its own."""
        state = self.stack.pop()
        owner = self.stack[-1]
        if not isinstance(owner, StubObject | _Mapping):
            raise pickle.UnpicklingError(f"state for a {type(owner).__name__}, which has none")
        owner.__setstate__(state)

    def _count(self, made: tuple[Any, ...]) -> tuple[Any, ...]:
        """A tuple, unless it stands for very many values. Its hash takes a step for each, however many are shared."""
        inner = [value for value in made if isinstance(value, tuple)]
        if inner:
            size = len(made) + sum(self._sizes.get(id(value), (value, len(value)))[1] for value in inner)
            if size > _MOST_IN_TUPLE:
                raise pickle.UnpicklingError("tuples inside of tuples, of too many values")
            self._sizes[id(made)] = made, size
        return made

    def load_tuples(self, opcode: int) -> None:
        pickle._Unpickler.dispatch[opcode](self)  # type: ignore[arg-type]
        self._count(self.stack[-1])

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: load_build,
    }
    for opcode in (pickle.TUPLE[0], pickle.TUPLE1[0], pickle.TUPLE2[0], pickle.TUPLE3[0]):
        dispatch[opcode] = partial(load_tuples, opcode=opcode)

    def find_class(self, module: str, name: str) -> Any:
        """What the pickle gets when it asks for `module.name`; never the thing itself unless it is listed above."""
        known = self._known.get((module, name))
        if known is not None:
            return known
        kind = f"{module}.{name}"
        if kind not in self._kinds:
            self._kinds[kind] = type(name, (StubObject,), {"kind": kind})
        return self._kinds[kind]

    def persistent_load(self, pid: Any) -> Any:
        """Storages are kept outside the pickle: ("storage", type, key, device, elements[, view])."""
        if not isinstance(pid, tuple) or not pid:
            raise pickle.UnpicklingError(f"unknown persistent id {shorten(pid)}")
        if pid[0] == "module":  # legacy archives carry the source code of each class: not wanted
            return pid[1]
        kind, dtype, key, _, numel, *view = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"storage of an unknown type: {shorten(dtype)}")
        if not isinstance(key, str | int) or not isinstance(numel, int):
            raise pickle.UnpicklingError(f"storage {shorten(key)} of {shorten(numel)} elements")
        flat = self._storage(str(key), dtype, numel)
        if view and view[0] is not None:
            _, start, size = view[0]
            flat = flat.narrow(0, int(start), int(size))
        return flat

    def _size(self, sizes: Any = ()) -> tuple[Any, ...]:
        return self._count(tuple(sizes))

    def _defaultdict(self, factory: Any = None, items: Any = ()) -> _Mapping:
        return _Mapping(items)

    def _tensor(self, flat: Any, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
        if not isinstance(flat, Tensor):
            raise pickle.UnpicklingError("a tensor without a storage")
        return flat.as_strided(tuple(size), tuple(stride), flat.storage_offset() + int(offset))  # refuses out of bounds

    def _parameter(self, data: Any, *_: Any) -> Any:
        return data


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
        return _Unpickler(pickled, storage).load()


def _read_legacy(file: IO[bytes]) -> Any:
    storages: dict[str, Tensor] = {}

    size = os.fstat(file.fileno()).st_size

    def storage(key: str, dtype: torch.dtype, numel: int) -> Tensor:
        if key not in storages:
            if numel * dtype.itemsize > size:
                raise CheckpointError(f"storage {key} has more elements than the file has room for")
            storages[key] = torch.empty(numel, dtype=dtype)
        return storages[key]

    magic, _, system = (_Unpickler(file, storage).load() for _ in range(3))
    if magic != _LEGACY_MAGIC:
        raise CheckpointError("a plain pickle, not a file of torch.save")
    if system.get("little_endian", True) != (sys.byteorder == "little"):
        raise CheckpointError(f"written on a machine of another byte order than this one ({sys.byteorder}-endian)")
    content = _Unpickler(file, storage).load()
    # The bytes of the storages follow, each after its number of elements, in the order of this list.
    order = _Unpickler(file, storage).load()
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


def _view(buffer: mmap.mmap | bytearray, dtype: torch.dtype, numel: int, offset: int) -> Tensor:
    if numel == 0:
        return torch.empty(0, dtype=dtype)
    return torch.frombuffer(buffer, dtype=dtype, count=numel, offset=offset)
