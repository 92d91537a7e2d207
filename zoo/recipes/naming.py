"""Default names of trained models."""

from __future__ import annotations

from pathlib import Path


def name_of_run(family: str, out: str) -> str:
    """FAMILY-RUNFOLDER: never the name of a registered model."""
    return f"{family}-{Path(out).resolve().name}"
