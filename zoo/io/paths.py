"""Paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path


def expand_path(source: str | Path) -> Path:
    """The path that is meant: ~ is home. A name such as ~x that is nobody's home stays as it is."""
    return Path(os.path.expanduser(source))  # noqa: PTH111 (Path.expanduser raises for such names)
