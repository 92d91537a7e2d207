"""What a model that a recipe raised is called, where nobody named it."""

from __future__ import annotations

from pathlib import Path


def name_of_run(family: str, out: str) -> str:
    """The family and the run folder: nobody's own model goes by the name of one in the package."""
    return f"{family}-{Path(out).resolve().name}"
