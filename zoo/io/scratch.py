"""Temporary folders that a later process removes if their owner is killed.

The owner holds a lock on its folder, and a lock ends with its process. So a folder without a lock is abandoned.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path


def make_locked(folder: Path, mode: int = 0o777) -> int:
    """Create a folder and lock it. Returns the descriptor that holds the lock; close it when the folder is gone.

    Some network file systems have no locks; there nothing is locked, and `remove_abandoned` removes nothing.
    """
    while True:
        folder.mkdir(mode)
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another process took it for abandoned, before it was locked
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # if another process holds it, that process removes the folder
        if folder.is_dir():
            return descriptor
        os.close(descriptor)


def remove_abandoned(parent: Path, pattern: str) -> None:
    """Remove the folders of killed processes of this user in `parent` that match a glob pattern."""
    for folder in parent.glob(pattern):
        with suppress(OSError):  # locked, or gone, or of another user
            _remove(folder)


def _remove(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid == os.getuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
