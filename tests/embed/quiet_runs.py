"""Helpers: runs without progress by default, the rows of a folder, and the digests of its files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow.parquet as pq

from zoo import embed


def read(out: Path) -> list[dict]:
    return [row for path in sorted(out.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def digests(out: Path) -> dict[str, str]:
    files = [path for path in sorted(out.iterdir()) if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run(paths: object, model: object, out: Path, **options: object) -> embed.EmbedSummary:
    return embed.run(paths, model, out, **{"progress": False, **options})  # type: ignore[arg-type]
