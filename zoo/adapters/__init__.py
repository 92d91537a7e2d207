"""Encoders of zoo behind the interfaces of other tools: MTEB, X-ARES, HEAR, s3prl, scikit-learn. Only scikit-learn has
to be installed, and MTEB for its own adapter.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = ("hear", "s3prl", "sklearn")
"""Imported when they are first used: `zoo.adapters.sklearn.AudioEmbedding` works after `import zoo`."""


def __dir__() -> list[str]:
    return list(_MODULES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"zoo.adapters.{name}")
    raise AttributeError(f"module 'zoo.adapters' has no attribute {name!r}")
