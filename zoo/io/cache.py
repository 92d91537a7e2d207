"""The folder in which zoo keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """A folder under the one that ZOO_CACHE names, or under ~/.cache/audiozoo."""
    cache = Path(os.environ.get("ZOO_CACHE") or "~/.cache/audiozoo").expanduser().absolute()
    return cache.joinpath(*parts)
