"""Generated corpora as a source of entries: corpus:speech/small."""

from __future__ import annotations

from collections.abc import Mapping

from zoo.corpora.builder import build
from zoo.data import manifest
from zoo.data.manifest import Entry


def read(name: str, columns: Mapping[str, str] | None = None) -> list[Entry]:
    """The entries of a corpus such as "speech/small", built on first use; "speech" means "speech/small".

    columns: not used.
    """
    kind, _, size = name.partition("/")
    return manifest.read(build(kind, size or "small"))
