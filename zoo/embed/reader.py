"""Read the pooled embeddings of a whole folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from zoo.embed.settings import EmbedSettings
from zoo.errors import ZooError
from zoo.jobs.plan import PLAN_NAME, read_plan
from zoo.jobs.shards import stored_failures


@dataclass(frozen=True)
class Embeddings:
    """The N rows of a folder: one row per item and layer, in the order of the inputs; items added later come last.

    paths: as given; one path occurs several times if a list has several spans of it. starts, durations: s.
    layers: numbers of the layers. columns: the kept columns of the lists. vectors: (N, D) float32, on the CPU.
    """

    paths: list[str]
    starts: np.ndarray
    durations: np.ndarray
    layers: np.ndarray
    columns: dict[str, np.ndarray]
    vectors: Tensor


def load(out: str | Path, *, layer: int | None = None) -> Embeddings:
    """The embeddings of a finished run.

    layer: which layer, numbered from 0 as in the files; None for all layers of the folder.
    For frames, and for a DataFrame (`pandas.read_parquet(out)`), use any Parquet reader.
    Raises ZooError if zoo embed did not write the folder, it is not finished, it has frames, or it lacks this layer.
    """
    out = Path(out)
    plan = read_plan(out / PLAN_NAME)
    if plan is None or plan.task != "embed":
        raise ZooError(f"{out}: no {PLAN_NAME} of zoo embed here; give a folder that it wrote")
    settings = EmbedSettings.from_json(plan.settings)
    if settings.pooling is None:
        raise ZooError(f"{out} has frames; read {out}/part-*.parquet with pyarrow, polars, DuckDB ...")
    layers = settings.layers
    if layer is not None and layer not in layers:
        raise ZooError(f"{out} has layers {', '.join(map(str, layers))}; choose one of them, not {layer}")
    filters = None if layer is None else [("layer", "=", layer)]
    shards: list[pa.Table] = []
    for shard in plan.shards():
        name = plan.name(shard)
        if stored_failures(out / name, shard) is None:
            raise ZooError(f"{out} is not finished: {name} is missing or out of date; run zoo embed again")
        shards.append(pq.read_table(out / name, filters=filters))
    table = pa.concat_tables(shards)
    values = [column.flatten().to_numpy() for column in table["embedding"].chunks]
    flat = np.concatenate([np.zeros(0, np.float32), *values], dtype=np.float32)
    return Embeddings(
        paths=table["path"].to_pylist(),
        starts=table["start"].to_numpy(),
        durations=table["duration"].to_numpy(),
        layers=table["layer"].to_numpy(),
        columns={name: table[name].to_numpy() for name in settings.columns},
        vectors=torch.from_numpy(flat).reshape(-1, settings.width),
    )
