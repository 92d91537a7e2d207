"""Reading torch.save files without running them: the tensors that were saved, inert records for the rest."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import zipfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo import importers
from zoo.errors import CheckpointError
from zoo.importers import pickled, torchfile
from zoo.importers.pickled import StubObject

LAYOUTS = [(True, 2), (True, 4), (False, 2), (False, 4)]
Save = Callable[[Any], Path]


@pytest.fixture(params=LAYOUTS, ids=lambda layout: f"{'zip' if layout[0] else 'legacy'}-protocol{layout[1]}")
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Save:
    def write(content: Any) -> Path:
        new, protocol = request.param
        torch.save(content, tmp_path / "file.pt", _use_new_zipfile_serialization=new, pickle_protocol=protocol)
        return tmp_path / "file.pt"

    return write


def test_tensors_come_back(save: Save) -> None:
    base = torch.randn(6, 4)
    content = {
        "whole": base,
        "rows": base[2:5],
        "transposed": base.T,
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(2)),
        **{str(dtype): torch.arange(5).to(dtype) for dtype in pickled.STORAGES.values()},
    }
    read = torchfile.read(save(content))
    assert read.keys() == content.keys()
    for name, tensor in content.items():
        assert read[name].dtype == tensor.dtype
        assert read[name].stride() == tensor.stride()
        assert torch.equal(read[name], tensor), name
    read["whole"][2, 0] = 7.0
    assert read["rows"][0, 0] == 7.0, "tensors that share a storage in the file still do"


def test_containers_and_records(save: Save) -> None:
    module = torch.nn.Linear(2, 2)
    content = {
        "state": module.state_dict(),  # an OrderedDict with an attribute
        "ordered": OrderedDict(b=1, a=2),
        "default": defaultdict(list, {"k": [1]}),
        "counter": Counter("aab"),
        "nested": [(1, "two", 3.0, None, True), {4, 5}],
        "size": torch.Size([2, 3]),
        "namespace": argparse.Namespace(rate=0.1, path=Path("x")),
        "device": torch.device("cpu"),
    }
    read = torchfile.read(save(content))
    assert torch.equal(read["state"]["weight"], module.weight)
    assert list(read["ordered"].items()) == [("b", 1), ("a", 2)]
    assert read["default"] == {"k": [1]}
    assert read["counter"] == {"a": 2, "b": 1}
    assert read["nested"] == content["nested"]
    assert read["size"] == (2, 3)
    assert isinstance(read["namespace"], StubObject)
    assert read["namespace"].kind == "argparse.Namespace"
    assert read["namespace"].state["rate"] == 0.1
    assert read["device"].kind == "torch.device"
    assert read["device"].args == ("cpu",)


class Hostile:
    def __init__(self, function: Any, *args: Any) -> None:
        self.reply = function, args

    def __reduce__(self) -> Any:
        return self.reply


@pytest.mark.parametrize(
    "function",
    [os.system, os.mkdir, exec, eval, getattr, open, pickle.loads, torch.load, torch.hub.load, __import__, print],
    ids=lambda f: f.__name__,
)
def test_no_call_is_made(save: Save, function: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    victim = tmp_path / "touched"
    argument = str(victim) if function in (os.mkdir, open) else f"touch {victim}"
    read = torchfile.read(save({"payload": Hostile(function, argument), "weight": torch.ones(2)}))
    assert not victim.exists()
    assert capfd.readouterr().out == ""
    assert isinstance(read["payload"], StubObject)
    assert read["payload"].args == (argument,)
    assert torch.equal(read["weight"], torch.ones(2))


def test_setting_attributes_changes_nothing_outside(tmp_path: Path) -> None:
    """BUILD with a slot state calls setattr on whatever is on the stack: here on the classes a file may name."""
    for module, name in pickled.Unpickler(io.BytesIO(), lambda *_: torch.empty(0))._known:
        before = pickled.Mapping().__setstate__, dict(vars(pickled.Mapping)), dict(vars(pickled.Unpickler))
        program = f"c{module}\n{name}\n".encode() + b"(N}X\x05\x00\x00\x00aliceK\x01stb."
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("x/data.pkl", b"\x80\x02" + program)
        (tmp_path / "file.pt").write_bytes(buffer.getvalue())
        with pytest.raises(CheckpointError):
            torchfile.read(tmp_path / "file.pt")
        assert before[1:] == (dict(vars(pickled.Mapping)), dict(vars(pickled.Unpickler)))


def test_deflated_storage_and_short_storage_are_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1000)}, tmp_path / "file.pt")
    source = zipfile.ZipFile(tmp_path / "file.pt")
    for method, cut in ((zipfile.ZIP_DEFLATED, 4000), (zipfile.ZIP_STORED, 3999)):
        with zipfile.ZipFile(tmp_path / "bad.pt", "w", method) as target:
            for name in source.namelist():
                data = source.read(name)
                target.writestr(name, data[:cut] if "/data/" in name else data)
        with pytest.raises(CheckpointError, match=r"is compressed|compressed or shorter"):
            torchfile.read(tmp_path / "bad.pt")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "neither a zip archive nor a pickle"),
        (b"RIFF....WAVE", "neither a zip archive nor a pickle"),
        (b"PK\x03\x04rubbish", "damaged"),
        (pickle.dumps({"a": 1}), "damaged|plain pickle"),
        (pickle.dumps(1) * 4, "plain pickle"),
    ],
)
def test_other_files(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "file.pt").write_bytes(data)
    with pytest.raises(CheckpointError, match=message) as caught:
        torchfile.read(tmp_path / "file.pt")
    assert "file.pt" in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        torchfile.read(tmp_path / "absent.pt")


def test_torchscript_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "file.pt", "w") as archive:
        archive.writestr("x/data.pkl", b"")
        archive.writestr("x/code/__torch__.py", b"")
    with pytest.raises(CheckpointError, match="TorchScript"):
        torchfile.read(tmp_path / "file.pt")


Damage = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255))


@settings(max_examples=150, deadline=None)
@given(damage=st.lists(Damage, min_size=1, max_size=4), kept=st.floats(0.5, 1.0), new=st.booleans())
def test_damage_raises_nothing_but_checkpoint_errors(
    damage: list[tuple[float, int]], kept: float, new: bool, tmp_path_factory: Any
) -> None:
    path = tmp_path_factory.mktemp("damage") / "file.pt"
    content = {"w": torch.ones(7), "ns": argparse.Namespace(a=[1], b="x" * 40), "d": OrderedDict(a=(1, 2))}
    torch.save(content, path, _use_new_zipfile_serialization=new)
    data = bytearray(path.read_bytes())
    for place, value in damage:
        data[int(place * len(data))] = value
    path.write_bytes(data[: int(kept * len(data))])
    try:
        torchfile.read(path)
    except CheckpointError as error:
        assert "file.pt" in str(error)


class WithState:
    """Pickles as a call of `function`, whose result then gets `state`."""

    def __init__(self, function: Any, arguments: tuple[Any, ...], state: Any) -> None:
        self.parts = function, arguments, state

    def __reduce__(self) -> Any:
        return self.parts


def test_no_state_reaches_a_tensor(tmp_path: Path) -> None:
    """`Tensor.__setstate__` would let a file of 300 bytes take gigabytes."""
    state = {"any": "state"}
    arguments = (torch.zeros(2).storage(), 0, (2,), (1,), False, {})
    torch.save({"w": WithState(torch._utils._rebuild_tensor_v2, arguments, state)}, tmp_path / "file.pt")
    with pytest.raises(CheckpointError, match="state for a Tensor"):
        torchfile.read(tmp_path / "file.pt")


def test_a_legacy_storage_without_bytes_is_refused(tmp_path: Path) -> None:
    """Its tensors would show what memory held before."""
    path = tmp_path / "file.pt"
    torch.save({"w": torch.ones(4)}, path, _use_new_zipfile_serialization=False)
    parts = path.read_bytes()
    keys = parts.rindex(b"\x80\x02]")
    path.write_bytes(parts[:keys] + b"\x80\x02].")
    with pytest.raises(CheckpointError, match=r"the bytes of storage \d+ are missing"):
        torchfile.read(path)


def test_lists_that_share_their_items_cost_no_more_than_their_bytes(tmp_path: Path) -> None:
    """ "Billion laughs": 60 lists of two items each stand for 2 ** 60 values."""
    shared: Any = ["x", "x"]
    pairs: Any = ("x", "x")
    for _ in range(60):
        shared = [shared, shared]
        pairs = (pairs, pairs)
    laughs = {
        "model": {},
        "cfg": {"model": {"conv_feature_layers": shared}, "task": {}},
        "args": argparse.Namespace(dropout=shared),
        "task_state": shared,
    }
    for name in ("cfg", "args"):
        torch.save({"model": {}, name: laughs[name]}, tmp_path / "file.pt")
        with pytest.raises(CheckpointError, match="more than 100,000 values"):
            importers.read("file.pt", tmp_path / "file.pt")
    torch.save(laughs | {"cfg": {"model": {"w2v_args": None}}}, tmp_path / "file.pt")
    with pytest.raises(CheckpointError, match="more than 100,000 values"):
        importers.read("file.pt", tmp_path / "file.pt")
    for content in ({"config": shared}, [shared], {"dims": {"n_mels": shared}, "model_state_dict": {"w": shared}}):
        torch.save(content, tmp_path / "file.pt")
        with pytest.raises(CheckpointError) as caught:
            importers.read("file.pt", tmp_path / "file.pt")
        assert len(str(caught.value)) < 1000


def test_tuples_that_share_their_items_are_no_keys(tmp_path: Path) -> None:
    """The hash of a tuple takes a step for each value in it, shared or not."""
    code = b"\x80\x02}" + b"K\x01K\x01\x86" + b"q\x00h\x00\x86" * 60 + b"K\x01s."
    with zipfile.ZipFile(tmp_path / "file.pt", "w") as archive:
        archive.writestr("file/data.pkl", code)
    with pytest.raises(CheckpointError, match="tuples inside of tuples"):
        torchfile.read(tmp_path / "file.pt")


def test_a_storage_is_named_by_a_text(tmp_path: Path) -> None:
    shared: Any = ["x"]
    for _ in range(60):
        shared = [shared, shared]
    code = pickle.dumps(("storage", "kind", shared, "cpu", 4), protocol=2)
    code = code.removesuffix(b".").replace(b"X\x04\x00\x00\x00kind", b"ctorch\nFloatStorage\n") + b"Q."
    with zipfile.ZipFile(tmp_path / "file.pt", "w") as archive:
        archive.writestr("file/data.pkl", code)
    with pytest.raises(CheckpointError, match=r"storage .* of 4 elements") as caught:
        torchfile.read(tmp_path / "file.pt")
    assert len(str(caught.value)) < 500


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    (tmp_path / "file.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(CheckpointError, match=r"file\.pt: a pointer of git-lfs.*git lfs pull"):
        torchfile.read(tmp_path / "file.pt")
