"""The increment of an index: a folder with the embeddings of new items. Its finished shards are read, then removed.

Legend: N rows, D width.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch.nn.functional import normalize

from zoo.jobs.failures import ERRORS_NAME
from zoo.jobs.plan import PLAN_NAME, read_plan
from zoo.jobs.shards import stored_failures
from zoo.search.store import IndexEntry, IndexTable, Space, empty

FOLDER = "increment"
# Items in one shard. A crash loses one shard at most.
SHARD_ITEMS = 512


def read_rows(folder: Path, space: Space) -> IndexTable:
    """The rows of the finished shards, normalized to unit length. Empty if another model made them."""
    plan = read_plan(folder / PLAN_NAME)
    if plan is None or plan.settings["fingerprint"] != space.fingerprint:
        return empty(space)
    entries: list[IndexEntry] = []
    vectors = [empty(space).vectors]
    for shard in plan.shards():
        path = folder / plan.name(shard)
        if stored_failures(path, shard) is None:
            continue
        rows = pq.read_table(path, columns=["item", "embedding"])
        planned = [plan.items[index] for index in rows["item"].to_pylist()]
        values = rows["embedding"].combine_chunks().flatten().to_numpy().astype(np.float32)
        unit = normalize(torch.from_numpy(values).reshape(-1, space.width), dim=1)  # (N, D)
        vectors.append(unit.to(vectors[0].dtype))
        entries += [IndexEntry(p.path, p.start, p.end, p.size or 0, p.mtime_ns or 0) for p in planned]
    return IndexTable(entries, torch.cat(vectors))


def clear(folder: Path, *, keep_errors: bool = False) -> None:
    """Remove the files of the increment and no other files. keep_errors: keep the list of failures."""
    for path in [folder / PLAN_NAME, *folder.glob("part-*.parquet")]:
        path.unlink(missing_ok=True)
    if not keep_errors:
        (folder / ERRORS_NAME).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
