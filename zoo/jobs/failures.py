"""Whether a run over many items has failed as a whole: one rule for every verb of the command line."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import ZooError

ERRORS_NAME = "errors.jsonl"


def raise_for_failures(succeeded: int, failed: int, reasons: Path, fail_on_error: bool) -> None:
    """Raises ZooError where items failed and none succeeded, now or in an earlier run; with fail_on_error, where any
    failed.

    reasons: the file that says why.
    """
    if failed and (fail_on_error or not succeeded):
        raise ZooError(f"{failed} of {succeeded + failed} items failed; the reasons are in {reasons}")
