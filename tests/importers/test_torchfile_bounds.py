"""Files of torch.save that stand for far more than they hold are refused before they take memory."""

from __future__ import annotations

import tracemalloc
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import torch

from zoo.errors import CheckpointError
from zoo.importers import torchfile


def write_program(path: Path, program: bytes, **storages: bytes) -> Path:
    """A zip archive of torch.save whose pickle is `program`."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("file/data.pkl", program)
        for key, data in storages.items():
            archive.writestr(f"file/data/{key}", data)
    return path


INTEGERS = b"".join(b"J" + number.to_bytes(4, "little") for number in range(20_000))
CALLS = {
    "torch.Size": (b"(" + b"N" * 20_000 + b"l", b"ctorch\nSize\n", b"h\x01h\x00\x85R"),
    "OrderedDict": (b"(" + b"NN\x86" * 20_000 + b"l", b"ccollections\nOrderedDict\n", b"h\x01h\x00\x85R"),
    "Counter": (b"(" + b"NN\x86" * 20_000 + b"l", b"ccollections\nCounter\n", b"h\x01h\x00\x85R"),
    "defaultdict": (b"(" + b"NN\x86" * 20_000 + b"l", b"ccollections\ndefaultdict\n", b"h\x01Nh\x00\x86R"),
    "set": (b"(" + INTEGERS + b"l", b"cbuiltins\nset\n", b"h\x01h\x00\x85R"),
    "set by OBJ": (b"(" + INTEGERS + b"l", b"cbuiltins\nset\n", b"(h\x01h\x00o"),
    "stand-in": (b"(" + b"N" * 20_000 + b"t", b"cx\ny\n", b"h\x01h\x00R"),
    "new stand-in": (b"(" + b"N" * 20_000 + b"t", b"cx\ny\n", b"h\x01h\x00\x81"),
    "keywords": (b"}(" + b"".join(b"U\x05%05dN" % k for k in range(9_000)) + b"u", b"cx\ny\n", b"h\x01)h\x00\x92"),
}


@pytest.mark.parametrize("kind", CALLS)
def test_calls_that_copy_shared_containers_are_bounded(tmp_path: Path, kind: str) -> None:
    """8,000 copies of one list in a file of 68 kB would take 1.7 GB."""
    shared, function, call = CALLS[kind]
    program = b"\x80\x02(" + shared + b"q\x00" + function + b"q\x01(" + call * 8_000 + b"l."
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="its calls copy more than 1,000,000 values"):
        torchfile.read(write_program(tmp_path / "file.pt", program))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


def test_one_large_container_is_read(tmp_path: Path) -> None:
    content = {
        "set": set(range(100_000)),
        "counter": Counter(range(100_000)),
        "many": [{1, 2, 3} for _ in range(9_000)],
    }
    torch.save(content, tmp_path / "file.pt")
    assert torchfile.read(tmp_path / "file.pt") == content


STORAGE = b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nByteStorage\nU\x010U\x03cpuJ%stQ"


def tensor_program(stored: int, sizes: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """The opcodes of a tensor of bytes in the storage "0"."""
    size, stride = (b"(" + b"".join(b"I%d\n" % number for number in numbers) + b"t" for numbers in (sizes, strides))
    return STORAGE % stored.to_bytes(4, "little") + b"I0\n" + size + stride + b"I00\nNtR"


@pytest.mark.parametrize(
    ("sizes", "strides"),
    [((1_000_000,), (0,)), ((1000, 1000), (0, 0)), ((10, 7), (1, 1)), ((2, 8), (4, 1)), ((4, 1, 4), (3, 99, 1))],
)
def test_tensors_larger_than_their_storage_are_refused(
    tmp_path: Path, sizes: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    program = b"\x80\x02" + tensor_program(16, sizes, strides) + b"."
    with pytest.raises(CheckpointError, match="elements share their bytes"):
        torchfile.read(write_program(tmp_path / "file.pt", program, **{"0": bytes(16)}))


def test_tensors_of_the_same_bytes_many_times_over_are_refused(tmp_path: Path) -> None:
    stored = 1_000_000
    one = tensor_program(stored, (stored,), (1,))
    for times in (2, 100):
        path = write_program(tmp_path / "file.pt", b"\x80\x02(" + one * times + b"l.", **{"0": bytes(stored)})
        if times == 2:  # tied weights
            assert [len(tensor) for tensor in torchfile.read(path)] == [stored] * 2
            continue
        with pytest.raises(CheckpointError, match="share their bytes, more than 64 times"):
            torchfile.read(path)


def test_no_container_is_made_of_a_tensor(tmp_path: Path) -> None:
    """It would be an object of hundreds of bytes for each byte of the file."""
    tensor = tensor_program(16, (16,), (1,))
    for function in (b"cbuiltins\nset\n", b"ctorch\nSize\n", b"ccollections\nOrderedDict\n"):
        program = b"\x80\x02" + function + tensor + b"\x85R."
        with pytest.raises(CheckpointError, match="a container made of a Tensor"):
            torchfile.read(write_program(tmp_path / "file.pt", program, **{"0": bytes(16)}))
