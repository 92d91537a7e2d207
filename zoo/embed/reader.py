"""Read the pooled embeddings of a whole folder as one tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from zoo.embed.prepare import PLAN_NAME, read_plan
from zoo.embed.writer import shard_failures
from zoo.errors import ZooError


def load(out: str | Path, *, layer: int | None = None) -> tuple[list[str], Tensor]:
    """Paths and embeddings of a finished run, in the order of the inputs; items added later come last.

    layer: which layer, numbered from 0 as in the files; None if the folder has only one.
    Returns N paths and a float32 tensor (N, D). If a list has several spans of a file, its path occurs several times.
    For spans, frames and other columns, use any Parquet reader.
    Raises ZooError if zoo embed did not write the folder, it is not finished, it has frames, or it lacks this layer.
    """
    out = Path(out)
    plan = read_plan(out / PLAN_NAME)
    if plan is None:
        raise ZooError(f"{out}: no {PLAN_NAME} here; give a folder that zoo embed wrote")
    if plan.settings.pooling is None:
        raise ZooError(f"{out} has frames; read {out}/part-*.parquet with pyarrow, polars, DuckDB ...")
    layers = plan.settings.layers
    if layer not in layers and not (layer is None and len(layers) == 1):
        raise ZooError(f"{out} has layers {', '.join(map(str, layers))}; choose one of them, not {layer}")
    paths: list[str] = []
    rows: list[np.ndarray] = []
    for shard in plan.shards():
        if shard_failures(out, shard) is None:
            raise ZooError(f"{out} is not finished: {shard.name} is missing or out of date; run zoo embed again")
        filters = None if layer is None else [("layer", "=", layer)]
        table = pq.read_table(out / shard.name, columns=["path", "embedding"], filters=filters)
        paths += table["path"].to_pylist()
        values = table["embedding"].combine_chunks().flatten().to_numpy()
        rows.append(values.reshape(-1, plan.settings.width).astype(np.float32, copy=False))  # (N_i, D)
    return paths, torch.from_numpy(np.concatenate(rows))  # (N, D)
