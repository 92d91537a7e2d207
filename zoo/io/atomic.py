"""Directories and files replaced whole: at any moment, and after any crash, there is the old one or the new one."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from safetensors import SafetensorError

from zoo.errors import CheckpointError, ZooError

# Of what is half written. Ours alone: downloads and other programs leave files that end in .partial.
MARK = ".zoo-partial"
_LONGEST_NAME = 255  # bytes, on every usual file system
_AT_FDCWD = -100  # linux/fcntl.h
_RENAME_EXCHANGE = 2  # linux/fs.h


@contextmanager
def replacing_directory(target: Path, may_replace: Callable[[Path], None]) -> Iterator[Path]:
    """Fill the yielded empty directory; when the block ends without an error it becomes `target`, flushed to disk.

    may_replace: called with an existing `target`; raises when its content must not be lost.

    On Linux the two directories change places in one step. Elsewhere the old one is moved aside first, to a hidden
    sibling ending in .old, where it can be found should the power fail in that instant.
    Raises CheckpointError when `target` is a file, ZooError where safetensors cannot write its part, and whatever
    `may_replace` raises.
    """
    target = target.expanduser().resolve()
    _check(target, may_replace)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:12]}.tmp")
    temporary.mkdir()
    try:
        with _safetensors_errors(target):
            yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            _flush(path)
        _check(target, may_replace)  # filling may have taken long
        _move(temporary, target)
        _flush(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # what was not moved, or the old directory after an exchange


@contextmanager
def replacing_file(target: Path, *, shared: bool = False) -> Iterator[Path]:
    """Write the yielded path; when the block ends without an error it becomes `target`, flushed to disk.

    The path is `unfinished(target)`, so a killed process leaves one such file at most, which the next one writes over.
    shared: several processes may write the target at the same time, so each of them has a path of its own.
    Raises ZooError where safetensors cannot write it.
    """
    target = target.expanduser().absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid4().hex}{MARK}") if shared else unfinished(target)
    try:
        with _safetensors_errors(target):
            yield temporary
        _put(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _safetensors_errors(target: Path) -> Iterator[None]:
    """What safetensors raises for a full disk is no OSError, and names no file."""
    try:
        yield
    except SafetensorError as error:
        raise ZooError(
            f"{target}: cannot be written ({error}); free some space and run the same command again, or write to "
            "another folder"
        ) from error


def unfinished(target: Path) -> Path:
    """Where the bytes of `target` are kept until `publish`: always the same name, so a dead run leaves one at most."""
    name = f".{target.name}{MARK}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()}{MARK}"
    return target.with_name(name)


def publish(target: Path) -> None:
    """Put the closed file `unfinished(target)` in the place of `target`, once all of it is on the disk."""
    _put(unfinished(target), target)


def _put(temporary: Path, target: Path) -> None:
    if not temporary.stat().st_mode & 0o077:  # safetensors lets the owner alone read it
        temporary.chmod(target.parent.stat().st_mode & 0o666)
    _flush(temporary)
    temporary.replace(target)
    _flush(target.parent)  # the name itself


def _check(target: Path, may_replace: Callable[[Path], None]) -> None:
    if target.is_dir():
        may_replace(target)
    elif target.exists():
        raise CheckpointError(f"{target}: is a file; a checkpoint is a directory")


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)  # nothing there, or an empty directory
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not _exchange(source, target):
            _replace_in_two_steps(source, target)


def _exchange(a: Path, b: Path) -> bool:
    """Let two directories change names atomically; False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # glibc >= 2.28 and musl >= 1.2.6
    return rename is not None and rename(_AT_FDCWD, bytes(a), _AT_FDCWD, bytes(b), _RENAME_EXCHANGE) == 0


def _replace_in_two_steps(source: Path, target: Path) -> None:
    aside = source.with_suffix(".old")
    target.rename(aside)
    try:
        source.rename(target)
    except OSError:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
