"""Reading what `run` wrote: the pooled embeddings of a whole folder as one tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from zoo.embed.prepare import PLAN_NAME, read_plan
from zoo.embed.writer import finished
from zoo.errors import ZooError


def load(out: str | Path, *, layer: int | None = None) -> tuple[list[str], Tensor]:
    """Paths and embeddings of a finished run, in the order of the inputs, later additions last.

    layer: which one, numbered from 0 as in the files; may be left out where the folder holds only one.
    Returns N paths (one path several times where a manifest names several spans of it) and a float32 tensor (N, D).
    For spans, frames and all else there is the Parquet reader of your choice.
    Raises ZooError for a folder that is none of ours, is not finished, holds frames, or not this layer.
    """
    out = Path(out)
    plan = read_plan(out / PLAN_NAME)
    if plan is None:
        raise ZooError(f"{out}: no {PLAN_NAME} here; give a folder that zoo embed wrote")
    if plan.settings.pooling is None:
        raise ZooError(f"{out} holds frames; read {out}/part-*.parquet with pyarrow, polars, DuckDB ...")
    layers = plan.settings.layers
    if layer not in layers and not (layer is None and len(layers) == 1):
        raise ZooError(f"{out} holds layers {', '.join(map(str, layers))}; choose one of them, not {layer}")
    paths: list[str] = []
    rows: list[np.ndarray] = []
    for shard in plan.shards():
        if finished(out, shard) is None:
            raise ZooError(f"{out} is not finished: {shard.name} is missing or out of date; run zoo embed again")
        chosen = None if layer is None else [("layer", "=", layer)]
        table = pq.read_table(out / shard.name, columns=["path", "embedding"], filters=chosen)
        paths += table["path"].to_pylist()
        values = table["embedding"].combine_chunks().flatten().to_numpy()
        rows.append(values.reshape(-1, plan.settings.width).astype(np.float32, copy=False))  # (N_i, D)
    return paths, torch.from_numpy(np.concatenate(rows))  # (N, D)
