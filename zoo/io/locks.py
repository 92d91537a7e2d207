"""The output folder: one run at a time, and nothing half written left in it."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.errors import ZooError
from zoo.io.atomic import MARK


@contextmanager
def lock_folder(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Create the folder and lock it, so that two runs never write to it at once. The lock dies with its process.

    wait: where another run holds it, say so and wait for that run, for what it writes is what this one needs.
    Also sweeps away what a killed run left half written. Raises ZooError where another run holds it and `wait` is not
    asked for, or it cannot be used: it is a file, may not be written, the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        with suppress(OSError):  # a file system without locks (some network ones): then it is up to the user
            _lock(folder, descriptor, wait)
        _sweep(folder)
        yield
    finally:
        os.close(descriptor)


def _lock(folder: Path, descriptor: int, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        if not wait:
            raise ZooError(f"{folder}: another run is writing to it; wait for it, or use another folder") from error
        print(f"{folder}: another run is writing to it; waiting for it", file=sys.stderr)
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _sweep(folder: Path) -> None:
    try:
        for left in folder.glob(f".*{MARK}"):
            left.unlink()
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: OSError) -> ZooError:
    return ZooError(f"{folder}: cannot be used as the output folder ({error.strerror or error}); choose another one")
