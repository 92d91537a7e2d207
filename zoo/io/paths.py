"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path


def expand_path(source: str | Path) -> Path:
    """Replace ~ with the home folder. A name such as ~x, without a user x, stays unchanged."""
    return Path(os.path.expanduser(source))  # noqa: PTH111 (Path.expanduser raises for such names)
