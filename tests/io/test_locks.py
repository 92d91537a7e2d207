"""The output folder: removal of unfinished files, locks, temporary names, and unusable folders."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from zoo.errors import ZooError
from zoo.io.atomic import replacing_file, unfinished
from zoo.io.locks import lock_folder


def test_only_unfinished_files_of_zoo_are_removed(tmp_path: Path) -> None:
    theirs = [tmp_path / ".download.partial", tmp_path / ".talk.txt.partial"]
    for path in (*theirs, unfinished(tmp_path / "talk.txt"), unfinished(tmp_path / "part-00000.parquet")):
        path.write_text("half")
    with lock_folder(tmp_path):
        assert sorted(tmp_path.iterdir()) == theirs


@pytest.mark.parametrize(
    "name", ["会" * 82 + ".json", "x" * 251 + ".txt", "\udcff" * 250 + ".txt"], ids=["characters", "letters", "bytes"]
)
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    for content in (b"old", b"new"):
        with replacing_file(tmp_path / name) as partial:
            partial.write_bytes(content)
    assert (tmp_path / name).read_bytes() == b"new" and len(list(tmp_path.iterdir())) == 1
    unfinished(tmp_path / name).write_text("half")
    with lock_folder(tmp_path):
        assert len(list(tmp_path.iterdir())) == 1
    assert unfinished(tmp_path / ("y" * 255)) != unfinished(tmp_path / ("y" * 254))


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES, errno.ENAMETOOLONG])
def test_the_error_for_an_unusable_folder_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    message = rf"out: cannot be used as the output folder \({os.strerror(number)}\)"
    with pytest.raises(ZooError, match=message), lock_folder(tmp_path / "out"):
        pass


def test_an_unfinished_file_that_cannot_be_removed_is_an_error_with_the_folder(tmp_path: Path) -> None:
    unfinished(tmp_path / "talk.txt").mkdir()
    with pytest.raises(ZooError, match="cannot be used as the output folder"), lock_folder(tmp_path):
        pass


def test_a_run_can_wait_for_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entered = threading.Event()

    def enter() -> None:
        with lock_folder(tmp_path, wait=True):
            entered.set()

    second = threading.Thread(target=enter)
    with lock_folder(tmp_path):
        second.start()
        assert not entered.wait(0.3)
    second.join(10)
    assert entered.is_set() and "another run is writing to it; waiting for it" in capsys.readouterr().err
