"""Errors of the system when a file cannot be written."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import ZooError
from zoo.io.text import printable

# Errors of the whole disk: no other file could be written either.
_DISK_ERRORS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO))


def affects_all_files(error: OSError) -> bool:
    """Whether the next file would fail with the same error."""
    return error.errno in _DISK_ERRORS


def unwritable(path: Path, error: OSError) -> ZooError:
    """An error that stops the run."""
    return ZooError(
        f"{printable(str(path))}: cannot be written ({error.strerror or error}). Fix that, or choose another --out; "
        "the same command then continues with the missing recordings"
    )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """For files that the run needs. Raises ZooError instead of OSError. path: named if the error names no file."""
    try:
        yield
    except OSError as error:
        raise unwritable(Path(error.filename or path), error) from error
