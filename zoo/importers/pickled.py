"""The pickle inside a `torch.save` file, read as plain data: what is not a tensor or a container becomes inert.

A pickle is a program that may call any function it can name. Here it can name very few: dictionaries, sets, and the
functions that shape a tensor out of bytes. Whatever else it asks for (argparse.Namespace, OmegaConf nodes, classes of
packages that are not installed, os.system) turns into a `StubObject` that keeps the name, the arguments and the state,
and does nothing. Reading a foreign checkpoint therefore runs no code of it, and needs no package of its author.

What it makes is never much larger than the file: calls may copy only so many values, and tensors lie in their bytes.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from functools import partial
from typing import IO, Any, ClassVar

import torch
from torch import Tensor

from zoo.io.text import shorten

_MOST_IN_TUPLE = 10_000
_FREE_COPIES = 32  # values that one call may copy; its own bytes in the file pay for them
_MOST_COPIED = 1_000_000
_CONTAINERS = (list, tuple, dict, set, frozenset)
STORAGES = {
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


class Mapping(dict[Any, Any]):
    """OrderedDict and its kin; attributes hung onto one (a state_dict's _metadata) are dropped."""

    def __init__(self, items: Any = ()) -> None:
        super().__init__(_container(items))

    def __setstate__(self, state: Any) -> None:
        pass


def _container(value: Any) -> Any:
    """A container to copy. A tensor would give an object for each of its bytes."""
    if not isinstance(value, _CONTAINERS):
        raise pickle.UnpicklingError(f"a container made of a {type(value).__name__}")
    return value


class Unpickler(pickle._Unpickler):
    """The unpickler. `storage(key, dtype, numel)` gives the flat tensor that holds the bytes of one storage.

    elements: of all tensors that were made so far.

    Derived from Python's own and not from the one in C, which allocates whatever a damaged file asks for (64 GB for one
    wrong byte in a memo number). A checkpoint has some ten thousand opcodes, so speed does not matter.

    What it lends to a pickle are its own bound methods and fresh classes, so that a hostile file which sets attributes
    on them changes nothing that outlives this reader.
    """

    def __init__(self, file: IO[bytes], storage: Callable[[str, torch.dtype, int], Tensor]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storage = storage
        self._kinds: dict[str, type[StubObject]] = {}
        self._copies_left = _MOST_COPIED
        self.elements = 0
        self._sizes: dict[int, tuple[Any, int]] = {}  # of tuples in tuples; they are kept, so that ids stay theirs
        self._known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): Mapping,
            ("collections", "Counter"): Mapping,
            ("collections", "defaultdict"): self._defaultdict,
            ("builtins", "set"): self._set,
            ("__builtin__", "set"): self._set,
            ("torch", "Size"): self._size,
            ("torch._utils", "_rebuild_tensor"): self._tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
            **{("torch", name): dtype for name, dtype in STORAGES.items()},
        }

    stack: list[Any]  # of Python's own unpickler

    def load_build(self) -> None:
        """Give an object its state. Only stand-ins take one: a tensor or a function would run code of its own."""
        state = self.stack.pop()
        owner = self.stack[-1]
        if not isinstance(owner, StubObject | Mapping):
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

    def load_call(self, opcode: int) -> None:
        """Call something with arguments, which may be containers that other calls have too."""
        count = 3 if opcode == pickle.NEWOBJ_EX[0] else 2  # class, arguments, keywords
        self._pay(*self.stack[1 - count :])
        pickle._Unpickler.dispatch[opcode](self)  # type: ignore[arg-type]

    def _instantiate(self, kind: Any, args: Any) -> None:
        self._pay(args)
        super()._instantiate(kind, args)  # type: ignore[misc]

    def _pay(self, *arguments: Any) -> None:
        """Count the values that a call may copy: a list of 20,000 can be named again in four bytes."""
        copied = 0
        for values in arguments:
            members = values.values() if isinstance(values, dict) else values
            copied += len(members)
            copied += sum(len(member) for member in members if isinstance(member, _CONTAINERS))
        self._copies_left -= max(0, copied - _FREE_COPIES)
        if self._copies_left < 0:
            raise pickle.UnpicklingError(f"its calls copy more than {_MOST_COPIED:,} values")

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: load_build,
    }
    for opcode in (pickle.REDUCE[0], pickle.NEWOBJ[0], pickle.NEWOBJ_EX[0]):
        dispatch[opcode] = partial(load_call, opcode=opcode)
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
        return self._count(tuple(_container(sizes)))

    def _set(self, items: Any = ()) -> set[Any]:
        return set(_container(items))

    def _defaultdict(self, factory: Any = None, items: Any = ()) -> Mapping:
        return Mapping(items)

    def _tensor(self, flat: Any, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
        if not isinstance(flat, Tensor):
            raise pickle.UnpicklingError("a tensor without a storage")
        sizes, strides = tuple(_container(size)), tuple(_container(stride))
        tensor = flat.as_strided(sizes, strides, flat.storage_offset() + int(offset))  # refuses out of bounds
        if _overlaps(sizes, strides):
            raise pickle.UnpicklingError("a tensor whose elements share their bytes; save a contiguous() one")
        self.elements += tensor.numel()
        return tensor

    def _parameter(self, data: Any, *_: Any) -> Any:
        return data


def _overlaps(sizes: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether two elements of a tensor may lie at one place: a stride is shorter than what lies within it."""
    if 0 in sizes:
        return False
    within = 0  # from the first to the last element of the dimensions with shorter strides
    for stride, size in sorted(zip(strides, sizes, strict=True)):
        if size > 1 and stride <= within:
            return True
        within += stride * (size - 1)
    return False
