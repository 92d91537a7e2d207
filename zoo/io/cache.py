"""The cache folder, for files that zoo can make again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """A subfolder of $ZOO_CACHE, or of ~/.cache/audiozoo if ZOO_CACHE is not set."""
    cache = Path(os.environ.get("ZOO_CACHE") or "~/.cache/audiozoo").expanduser().absolute()
    return cache.joinpath(*parts)
