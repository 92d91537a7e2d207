"""What the system says when a file cannot be written: whose trouble it is, and what to tell people."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import ZooError
from zoo.io.text import printable

# Of the whole folder: no other file could be written either.
_EVERYBODYS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO))


def is_everybodys(error: OSError) -> bool:
    """Whether the next file would meet the same."""
    return error.errno in _EVERYBODYS


def unwritable(path: Path, error: OSError) -> ZooError:
    """An error that stops the run."""
    return ZooError(
        f"{printable(str(path))}: cannot be written ({error.strerror or error}). Mend that, or choose another --out; "
        "the same command then goes on with what is missing"
    )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """For a file that the run cannot do without. Raises ZooError instead of OSError."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error
