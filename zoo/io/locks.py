"""Lock an output folder for one run, and remove unfinished files from it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.errors import ZooError
from zoo.io import messages
from zoo.io.atomic import MARK

# Seconds after which a run that waits for a lock says so.
PATIENCE = 5.0
# How often a folder is made again that other runs remove.
ATTEMPTS = 100


@contextmanager
def lock_folder(folder: Path, *, wait: bool = False, shared: bool = False) -> Iterator[None]:
    """Create the folder, lock it, and remove the unfinished files of a killed run.

    The lock keeps two runs from writing to the folder at once. It ends with its process.
    wait: if another run has the lock, print a message and wait for that run.
    shared: several runs write to the folder at the same time and have the lock for moments only. So wait for it, with
        a message if that takes long, and leave unfinished files alone.
    Raises ZooError if another run has the lock and `wait` is False, or if the folder cannot be used: it is a file, it
    is not writable, or the disk is full.
    """
    descriptor = _open_locked(folder, wait, PATIENCE if shared else 0.0)
    try:
        if not shared:
            sweep(folder)
        yield
    finally:
        os.close(descriptor)


def _open_locked(folder: Path, wait: bool, patience: float) -> int:
    """The descriptor of the locked folder. It is made again if another run removed it while this one waited."""
    for attempt in range(ATTEMPTS):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and attempt + 1 < ATTEMPTS:
                continue
            raise _unusable(folder, error) from error
        try:
            with suppress(OSError):  # some network file systems have no locks
                _lock(folder, descriptor, wait, patience)
            if _is_open(folder, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise ZooError(f"{folder}: was removed again and again by other runs; use another folder")


def _is_open(folder: Path, descriptor: int) -> bool:
    """Whether the descriptor is that of the folder, and not of one that was removed since."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False


def _lock(folder: Path, descriptor: int, wait: bool, patience: float) -> None:
    """Lock the open folder. Several runs that share it wait for each other: silently for `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if not wait and not patience:
                raise ZooError(f"{folder}: another run is writing to it; wait for it, or use another folder") from error
        if time.monotonic() >= deadline:
            print(f"{folder}: another run is writing to it; waiting for it", file=messages.stream())
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            return
        time.sleep(0.01)


def sweep(folder: Path) -> None:
    """Remove the unfinished files in a folder. Raises ZooError if that fails."""
    try:
        for path in folder.glob(f".*{MARK}"):
            path.unlink()
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: OSError) -> ZooError:
    return ZooError(f"{folder}: cannot be used as the output folder ({error.strerror or error}); choose another one")
