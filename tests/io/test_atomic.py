"""Replacing directories: the old or the new one, complete, without leftover files."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from zoo.errors import CheckpointError, ZooError
from zoo.io import atomic
from zoo.io.atomic import replacing_directory, replacing_file


def write(target: Path, text: str) -> None:
    with replacing_directory(target, may_replace=lambda _: None) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text(text)


def content(target: Path) -> str:
    return (target / "deep" / "file").read_text()


@pytest.fixture(params=["exchange", "two steps"])
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "two steps":
        monkeypatch.setattr(atomic, "_exchange", lambda a, b: False)
    return request.param


def test_a_new_directory_is_replaced_without_leftovers(tmp_path: Path, method: str) -> None:
    target = tmp_path / "parents" / "that are" / "missing"
    write(target, "one")
    assert content(target) == "one"
    write(target, "two")
    assert content(target) == "two"
    assert [p.name for p in target.parent.iterdir()] == ["missing"]


@pytest.fixture
def little_room() -> Iterator[None]:
    """No file may be larger than 64 KiB, as with a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("little_room")
def test_the_error_for_a_full_disk_has_the_path(tmp_path: Path) -> None:
    weights = {"weight": torch.zeros(1 << 16)}
    file, folder = tmp_path / "units.safetensors", tmp_path / "best"
    message = r": cannot be written \(.*[Ff]ile too large.*free some space"
    with pytest.raises(ZooError, match=str(file) + message), replacing_file(file) as partial:
        save_file(weights, partial)
    with pytest.raises(ZooError, match=str(folder) + message), replacing_directory(folder, lambda _: None) as partial:
        save_file(weights, partial / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_an_error_inside_keeps_the_old_directory(tmp_path: Path, method: str) -> None:
    target = tmp_path / "model"
    write(target, "old")
    with pytest.raises(ZeroDivisionError), replacing_directory(target, may_replace=lambda _: None) as folder:
        (folder / "half").write_text("written")
        raise ZeroDivisionError
    assert content(target) == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_two_steps_restore_the_old_directory_if_the_second_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "model"
    write(target, "old")
    monkeypatch.setattr(atomic, "_exchange", lambda a, b: False)
    rename = Path.rename

    def failing(self: Path, to: Path) -> Path:
        if self.suffix == ".tmp":
            raise OSError(errno.ENOTEMPTY if Path(to).exists() else errno.EIO, "no")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="no"):
        write(target, "new")
    monkeypatch.undo()
    assert content(target) == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_exchange_works_or_returns_false(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    for folder in (a, b):
        folder.mkdir()
        (folder / "name").write_text(folder.name)
    swapped = atomic._exchange(a, b)
    assert (a / "name").read_text() == ("b" if swapped else "a")
    assert not atomic._exchange(a, tmp_path / "absent")


def test_may_replace_is_called_before_and_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "model"

    def refuse(directory: Path) -> None:
        raise CheckpointError(f"{directory}: precious")

    with pytest.raises(CheckpointError, match="precious"), replacing_directory(target, may_replace=refuse):
        target.mkdir()  # another process was faster
        (target / "theirs").write_text("old")
    assert (target / "theirs").read_text() == "old"
    with pytest.raises(CheckpointError, match="precious"):
        write_refused = replacing_directory(target, may_replace=refuse)
        write_refused.__enter__()
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(CheckpointError, match="is a file"):
        write(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"


def test_a_link_still_points_to_the_replaced_directory(tmp_path: Path) -> None:
    write(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == "new"


@pytest.mark.usefixtures("little_room")
def test_an_error_of_the_system_has_the_path_of_the_file_or_folder(tmp_path: Path) -> None:
    file, folder = tmp_path / "table.parquet", tmp_path / "best"
    with pytest.raises(OSError, match="too large") as caught, replacing_file(file) as partial:
        partial.write_bytes(bytes(1 << 17))
    assert caught.value.filename == str(file)
    with (
        pytest.raises(OSError, match="too large") as caught,
        replacing_directory(folder, may_replace=lambda _: None) as partial,
    ):
        (partial / "weights").write_bytes(bytes(1 << 17))
    assert caught.value.filename == str(folder)
    assert not any(tmp_path.iterdir())
