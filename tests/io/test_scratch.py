"""Temporary folders of killed processes are removed, those of living ones are not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo.io.atomic import replacing_directory
from zoo.io.scratch import make_locked, remove_abandoned


def killed_inside(work: Callable[[], object]) -> None:
    """Run `work` in a process that dies at its end."""
    child = os.fork()
    if not child:
        work()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def fill_forever(target: Path) -> None:
    context = replacing_directory(target, may_replace=lambda _: None)
    (context.__enter__() / "weights").write_bytes(bytes(1000))
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_write_removes_what_killed_writes_left(tmp_path: Path) -> None:
    target = tmp_path / "ck [1]"
    for _ in range(2):
        killed_inside(lambda: fill_forever(target))
        assert len(list(tmp_path.glob(".ck *.tmp"))) == 1
    (tmp_path / ".ck [1].notes.tmp").mkdir()  # not made by zoo
    with replacing_directory(target, may_replace=lambda _: None) as first:
        with replacing_directory(target, may_replace=lambda _: None) as second:
            (second / "weights").write_text("two")
        (first / "weights").write_text("one")
    assert (target / "weights").read_text() == "one"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".ck [1].notes.tmp", "ck [1]"]


def test_only_folders_without_a_living_owner_are_removed(tmp_path: Path) -> None:
    lock = make_locked(tmp_path / "x-alive")
    killed_inside(lambda: make_locked(tmp_path / "x-dead"))
    (tmp_path / "x-file").touch()
    (tmp_path / "x-link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    remove_abandoned(tmp_path, "x-*")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "x-alive", "x-file", "x-link"]
    os.close(lock)
    remove_abandoned(tmp_path, "x-*")
    assert not (tmp_path / "x-alive").exists()


def test_the_data_folder_of_a_killed_espeak_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("espeakng_loader")
    from zoo.corpora import espeak

    monkeypatch.setattr(espeak.tempfile, "tempdir", str(tmp_path))
    make_home = espeak._home.__wrapped__
    killed_inside(make_home)
    (dead,) = tmp_path.glob("zoo-espeak-*")
    home = make_home()
    assert home.is_dir() and list(tmp_path.glob("zoo-espeak-*")) == [home] != [dead]
