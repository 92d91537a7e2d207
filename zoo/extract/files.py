"""The output folder: one run at a time, and files that appear whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from zoo.errors import ZooError

# Of what is half written. Ours alone: downloads and other programs leave files that end in .partial.
MARK = ".zoo-partial"
LONGEST_NAME = 255  # bytes, on every usual file system


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Create the folder and lock it, so that two runs never write to it at once. The lock dies with its process.

    Also sweeps away what a killed run left half written. Raises ZooError where another run holds it, or it cannot be
    used: it is a file, may not be written, the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ZooError(f"{folder}: another run is writing to it; wait for it, or use another folder") from error
        except OSError:
            pass  # a file system without locks (some network ones): then it is up to the user
        _sweep(folder)
        yield
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    try:
        for left in folder.glob(f".*{MARK}"):
            left.unlink()
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: OSError) -> ZooError:
    return ZooError(f"{folder}: cannot be used as the output folder ({error.strerror or error}); choose another one")


def unfinished(path: Path) -> Path:
    """Where the bytes of `path` are kept until `publish`: always the same name, so a dead run leaves one at most."""
    name = f".{path.name}{MARK}"
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()}{MARK}"
    return path.with_name(name)


def publish(path: Path) -> None:
    """Put the closed file `unfinished(path)` in the place of `path`, once all of it is on the disk."""
    partial = unfinished(path)
    _sync(partial)
    partial.replace(path)
    _sync(path.parent)  # the name itself


@contextmanager
def replace(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when the block ends; until then, nothing has changed."""
    with unfinished(path).open("wb") as file:
        yield file
    publish(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
