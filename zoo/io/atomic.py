"""Replace directories and files atomically: after a crash there is the old one or the new one, never a mix."""

from __future__ import annotations

import ctypes
import errno
import glob
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from safetensors import SafetensorError

from zoo.errors import CheckpointError, ZooError
from zoo.io.scratch import make_locked, remove_abandoned

# Suffix of unfinished files. Only zoo uses it; downloads and other programs leave files that end in .partial.
MARK = ".zoo-partial"
_LONGEST_NAME = 255  # bytes, on every usual file system
_AT_FDCWD = -100  # linux/fcntl.h
_RENAME_EXCHANGE = 2  # linux/fs.h


@contextmanager
def replacing_directory(target: Path, may_replace: Callable[[Path], None]) -> Iterator[Path]:
    """Yield an empty directory to fill. If the block ends without an error, it becomes `target`, flushed to disk.

    may_replace: called with an existing `target`; it must raise if the content must not be replaced.

    On Linux the two directories are swapped in one step. On other systems the old one is first renamed to a hidden
    sibling ending in .old, which remains if the power fails at that moment.
    Directories that killed processes left unfinished beside `target` are removed.
    Raises CheckpointError if `target` is a file, ZooError if safetensors cannot write a file, and any error of
    `may_replace`.
    """
    target = target.expanduser().resolve()
    _check(target, may_replace)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(target.parent, f".{glob.escape(target.name)}.{'[0-9a-f]' * 12}.tmp")
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:12]}.tmp")
    lock = make_locked(temporary)
    try:
        with naming_errors(target):
            yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            _flush(path)
        _check(target, may_replace)  # again, because filling may take long
        _move(temporary, target)
        _flush(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # after an exchange this is the old directory
        os.close(lock)


@contextmanager
def replacing_file(target: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield a path to write. If the block ends without an error, the file becomes `target`, flushed to disk.

    The path is `unfinished(target)`. So a killed process leaves one file at most, and the next process overwrites it.
    shared: several processes may write the target at the same time, so each process gets a different path.
    Raises ZooError if safetensors cannot write the file.
    """
    target = target.expanduser().absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid4().hex}{MARK}") if shared else unfinished(target)
    try:
        with naming_errors(target):
            yield temporary
            _put(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming_errors(target: Path) -> Iterator[None]:
    """Add the path to errors of writing, which name no file. That of safetensors becomes a ZooError."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(target)
        raise
    except SafetensorError as error:
        raise ZooError(
            f"{target}: cannot be written ({error}); free some space and run the same command again, or write to "
            "another folder"
        ) from error


def unfinished(target: Path, owner: str = "") -> Path:
    """The path of the unfinished file before `publish`. It is always the same, so a killed run leaves one at most.

    owner: a name of the process, if several processes may write the target at the same time.
    """
    name = f".{target.name}{owner}{MARK}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()}{MARK}"
    return target.with_name(name)


def publish(target: Path, owner: str = "") -> None:
    """Flush the closed file `unfinished(target, owner)` to disk and rename it to `target`."""
    with naming_errors(target):
        _put(unfinished(target, owner), target)


def _put(temporary: Path, target: Path) -> None:
    if not temporary.stat().st_mode & 0o077:  # safetensors makes files that only the owner can read
        temporary.chmod(target.parent.stat().st_mode & 0o666)
    _flush(temporary)
    temporary.replace(target)
    _flush(target.parent)  # the directory entry


def _check(target: Path, may_replace: Callable[[Path], None]) -> None:
    if target.is_dir():
        may_replace(target)
    elif target.exists():
        raise CheckpointError(f"{target}: is a file, but a checkpoint is a directory; choose another path")


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)  # works if target is missing or an empty directory
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not _exchange(source, target):
            _replace_in_two_steps(source, target)


def _exchange(a: Path, b: Path) -> bool:
    """Swap the names of two directories atomically. Returns False if the system or file system cannot do this."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # glibc >= 2.28 and musl >= 1.2.6
    return rename is not None and rename(_AT_FDCWD, bytes(a), _AT_FDCWD, bytes(b), _RENAME_EXCHANGE) == 0


def _replace_in_two_steps(source: Path, target: Path) -> None:
    backup = source.with_suffix(".old")
    target.rename(backup)
    try:
        source.rename(target)
    except OSError:
        backup.rename(target)
        raise
    shutil.rmtree(backup, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
