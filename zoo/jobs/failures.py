"""When a run over many items counts as failed. All commands use the same rule."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import ZooError

ERRORS_NAME = "errors.jsonl"


def raise_for_failures(succeeded: int, failed: int, reasons: Path, fail_on_error: bool) -> None:
    """Raise ZooError if items failed and none succeeded. With fail_on_error, raise if any item failed.

    succeeded, failed: counts over this run and earlier runs. reasons: the file that lists the errors.
    """
    if failed and (fail_on_error or not succeeded):
        raise ZooError(f"{failed} of {succeeded + failed} items failed; the reasons are in {reasons}")
