"""Runs that show no progress unless told to, and the rows they write."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from zoo import extract


def read(out: Path) -> list[dict]:
    return [row for path in sorted(out.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def run(paths: object, model: object, out: Path, **options: object) -> extract.Summary:
    return extract.run(paths, model, out, **{"progress": False, **options})  # type: ignore[arg-type]
