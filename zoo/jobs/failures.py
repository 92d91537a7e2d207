"""Failures of items. All commands use the same rules.

An item that fails does not stop the others. Every later run tries it again, because the cause may be gone: a folder
that was not mounted, a full disk, a package that was missing. Stored results are replaced only if none of them is lost.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from zoo.errors import AudioError, MissingDependencyError, ZooError

# Because of the leading underscore, pandas, Arrow, Spark and Dask skip the file when they read the whole folder.
ERRORS_NAME = "_errors.jsonl"
# What reading one item can raise. None of these stops the other items.
READ_ERRORS = (AudioError, MissingDependencyError, OSError, MemoryError, RuntimeError)


class NoRoom(str):
    """The reason of a recording that did not fit in the temporary folder, which other recordings may have filled."""

    __slots__ = ()


def describe_failure(error: Exception) -> str:
    """Why an item cannot be used, without the path of the item. error: one of READ_ERRORS."""
    if isinstance(error, AudioError):
        in_temporary_folder = error.item == tempfile.gettempdir()
        return NoRoom(f"is too long to decode in memory, and {error}") if in_temporary_folder else error.reason
    if isinstance(error, ZooError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return f"cannot be read ({type(error).__name__}: {error})".replace(": )", ")")


def raise_for_failures(succeeded: int, failed: int, reasons: Path, fail_on_error: bool) -> None:
    """Raise ZooError if items failed and none succeeded. With fail_on_error, raise if any item failed.

    succeeded, failed: counts over this run and earlier runs. reasons: the file that lists the errors.
    """
    if failed and (fail_on_error or not succeeded):
        raise ZooError(f"{failed} of {succeeded + failed} items failed; the reasons are in {reasons}")
