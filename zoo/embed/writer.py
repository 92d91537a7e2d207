"""Write rows as Parquet. Each shard is one file with rows, settings, and the items that failed.

Columns, one row per item and layer (and part, for frames), in the order of the inputs (items added later come last):

    item        int64     index of the input, from 0; failed items have no row
    path        string    as given
    start       double    seconds into the file
    duration    double    seconds embedded
    part        int32     frames only: a long recording has several rows of at most a minute
    layer       int16     0 = input of the transformer stack, k = after block k
    frame_rate  double    frames only: frame i of a row is at start + i / frame_rate
    model       string    the encoder's name
    fingerprint string    the encoder's fingerprint
    ...                   columns of the lists, if the run keeps some; null for items without a value
    embedding   fixed_size_list<float>[D]          pooled
    frames      list<fixed_size_list<float>[D]>    frames

There is one row per layer, not one column or a nested list. So `layer = 6` selects a layer in pandas, polars and
DuckDB, and a script for one layer works for several.

pandas and pyarrow read the folder, because they skip the files whose names start with an underscore. polars and DuckDB
read "OUT/part-*.parquet". `zoo.embed.load` returns arrays and a tensor.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zoo.embed.columns import as_array
from zoo.embed.settings import EmbedSettings
from zoo.io.atomic import naming_errors
from zoo.io.text import printable
from zoo.jobs.plan import Plan, Shard
from zoo.jobs.shards import ShardWriter, parquet_notes

# Bytes of embeddings in one row group. This also limits the memory that writing takes.
GROUP_BYTES = 32 << 20
_TEXT_COLUMNS = ["path", "model", "fingerprint"]


class EmbeddingRow(NamedTuple):
    """Output for an item, or for a part of a long recording. item_index: in the plan; values: (L, D) or (L, T, D)."""

    item_index: int
    part: int
    start: float
    duration: float
    values: np.ndarray


def schema(settings: EmbedSettings) -> pa.Schema:
    """Columns and metadata. The metadata entry `zoo` has all settings as JSON."""
    vector = pa.list_(pa.float16() if settings.storage == "float16" else pa.float32(), settings.width)
    pooled = settings.pooling is not None
    columns = [
        ("item", pa.int64()),
        ("path", pa.string()),
        ("start", pa.float64()),
        ("duration", pa.float64()),
        *([] if pooled else [("part", pa.int32())]),
        ("layer", pa.int16()),
        *([] if pooled else [("frame_rate", pa.float64())]),
        ("model", pa.string()),
        ("fingerprint", pa.string()),
    ]
    fields = [pa.field(name, kind, nullable=False) for name, kind in columns]
    fields += [pa.field(name, pa.type_for_alias(kind)) for name, kind in settings.columns.items()]
    fields.append(pa.field(*(("embedding", vector) if pooled else ("frames", pa.list_(vector))), nullable=False))
    return pa.schema(fields, metadata={"zoo": json.dumps(asdict(settings), sort_keys=True)})


def table(plan: Plan, settings: EmbedSettings, rows: Sequence[EmbeddingRow]) -> pa.Table:
    """Rows as an Arrow table, with one row for each layer."""
    layers = settings.layers

    def column(values: Sequence[Any]) -> list[Any]:
        return [value for value in values for _ in layers]

    columns = {
        "item": column([row.item_index for row in rows]),
        "path": column([printable(plan.items[row.item_index].path) for row in rows]),
        "start": column([row.start for row in rows]),
        "duration": column([row.duration for row in rows]),
        "part": column([row.part for row in rows]),
        "layer": list(layers) * len(rows),
        "frame_rate": [settings.frame_rate] * (len(rows) * len(layers)),
        "model": [settings.model] * (len(rows) * len(layers)),
        "fingerprint": [settings.fingerprint] * (len(rows) * len(layers)),
    }
    vectors = [values for row in rows for values in row.values]  # each (D,) or (T, D)
    flat = np.concatenate([values.reshape(-1) for values in vectors]) if vectors else np.zeros(0, np.float32)
    flat_values = pa.array(flat.astype(settings.storage, copy=False))
    embedding: pa.Array = pa.FixedSizeListArray.from_arrays(flat_values, settings.width)
    if settings.pooling is None:
        borders = np.cumsum([0, *(len(values) for values in vectors)], dtype=np.int32)
        embedding = pa.ListArray.from_arrays(borders, embedding)
    arrow_schema = schema(settings)
    arrays = [pa.array(columns[field.name], field.type) for field in arrow_schema if field.name in columns]
    for number, kind in enumerate(settings.columns.values()):
        arrays.append(as_array(column([plan.labels_of(row.item_index)[number] for row in rows]), kind))
    return pa.Table.from_arrays([*arrays, embedding], schema=arrow_schema)


class EmbeddingWriter(ShardWriter):
    """A shard as Parquet.

    Rows stay in memory and are written in order at the end. Only a shard of one item (frames of a long recording) is
    written as its rows come.
    """

    def __init__(self, path: Path, plan: Plan, shard: Shard, settings: EmbedSettings) -> None:
        super().__init__(path, plan, shard)
        self.settings = settings
        self._rows: list[EmbeddingRow] = []
        self._bytes = 0
        self._parquet: pq.ParquetWriter | None = None

    def write(self, result: EmbeddingRow) -> None:
        """Add a row."""
        self._rows.append(result)
        self._bytes += result.values.nbytes
        if self._bytes >= GROUP_BYTES and self.shard.stop - self.shard.start == 1:
            self._flush()

    def cancel(self, index: int) -> None:
        """Drop the rows of an item. If it is the only one, rows may be in the file already, which starts again."""
        self._rows = [row for row in self._rows if row.item_index != index]
        self._close_parquet()

    def finish(self) -> None:
        """Write the rows that are left."""
        self._flush()
        self._close_parquet()

    def close(self) -> None:
        """Close and remove the unfinished file, if there is one."""
        self._close_parquet()
        super().close()

    def _close_parquet(self) -> None:
        if self._parquet is not None:
            with naming_errors(self.path):
                self._parquet.close()
            self._parquet = None

    def _flush(self) -> None:
        with naming_errors(self.path):
            self._write_rows()

    def _write_rows(self) -> None:
        if self._parquet is None:
            arrow_schema = schema(self.settings)
            notes = parquet_notes(self.shard, self.failures)
            arrow_schema = arrow_schema.with_metadata({**(arrow_schema.metadata or {}), **notes})
            self._parquet = pq.ParquetWriter(
                self.partial, arrow_schema, compression="zstd", use_dictionary=_TEXT_COLUMNS
            )
        self._rows.sort(
            key=lambda row: (row.item_index, row.part), reverse=True
        )  # rows are popped from the end and freed
        while self._rows:
            group: list[EmbeddingRow] = []
            size = 0
            while self._rows and size < GROUP_BYTES:
                group.append(self._rows.pop())
                size += group[-1].values.nbytes
            self._parquet.write_table(table(self.plan, self.settings, group))
        self._bytes = 0
