"""An index on disk: one file. Readers map it into memory; writers replace it atomically.

index.safetensors
    vectors    (N, D) unit vectors, float32 or float16
    items      bytes of a JSON list: [path, start, end, size, mtime_ns] for each row
    metadata   "zoo": JSON of `Space` and the format number

Legend: N rows, D width.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.embed.settings import STORAGE
from zoo.encoder import Encoder
from zoo.errors import ConfigError, ZooError
from zoo.io.atomic import replacing_file
from zoo.jobs.lists import Item

NAME = "index.safetensors"
FORMAT = 1


class IndexEntry(NamedTuple):
    """The origin of a row. If the size or the modification time of the file differs, the file has changed."""

    path: str  # absolute
    start: float | None
    end: float | None
    size: int
    mtime_ns: int

    @property
    def item(self) -> Item:
        return Item(self.path, self.start, self.end)


@dataclass(frozen=True)
class Space:
    """The model and settings of an index. Only vectors of the same space can be compared.

    model: argument of `zoo.load` that loads the encoder again; "" if the encoder was given as an object.
    dtype: number format of the computation. storage: number format of the vectors. width: D.
    """

    model: str
    name: str
    fingerprint: str
    preprocessing: dict[str, Any]
    width: int
    dtype: str
    storage: str

    @classmethod
    def of(cls, encoder: Encoder, model: str, dtype: str, storage: str) -> Space:
        """The space of an encoder. Raises ConfigError for an unknown storage."""
        if storage not in STORAGE:
            raise ConfigError(f"storage {storage!r} is unknown; choose one of {', '.join(STORAGE)}")
        return cls(
            model=model,
            name=encoder.name or encoder.family,
            fingerprint=encoder.fingerprint(),
            preprocessing=json.loads(json.dumps(encoder.preprocessing())),
            width=encoder.dim,
            dtype=dtype,
            storage=storage,
        )


@dataclass(frozen=True)
class IndexTable:
    """Entries and their vectors (N, D)."""

    entries: list[IndexEntry]
    vectors: Tensor

    def __add__(self, other: IndexTable) -> IndexTable:
        if not other.entries:
            return self  # avoids a copy of the mapped vectors
        return IndexTable(self.entries + other.entries, torch.cat([self.vectors, other.vectors]))

    def select(self, entries: Iterable[IndexEntry]) -> IndexTable:
        """The rows of these entries, in this order. Entries that the table does not have are skipped."""
        row_of = {entry: row for row, entry in enumerate(self.entries)}
        rows = [row for entry in entries if (row := row_of.get(entry)) is not None]
        if rows == list(range(len(self.entries))):
            return self
        return IndexTable([self.entries[row] for row in rows], self.vectors[torch.tensor(rows, dtype=torch.long)])


def empty(space: Space) -> IndexTable:
    return IndexTable([], torch.zeros(0, space.width, dtype=getattr(torch, space.storage)))


def read(folder: Path) -> tuple[Space, IndexTable] | None:
    """The index in a folder, with memory-mapped vectors; None if there is no index.

    Raises ZooError for a damaged file or another format version.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            head = json.loads((file.metadata() or {})["zoo"])
            if (version := head.pop("format")) != FORMAT:
                raise ZooError(
                    f"{path}: format {version}, but this version of zoo reads {FORMAT}; delete it and build it again"
                )
            space, vectors = Space(**head), file.get_tensor("vectors")
            entries = [IndexEntry(*item) for item in json.loads(file.get_tensor("items").numpy().tobytes())]
        if vectors.shape != (len(entries), space.width):
            raise ValueError(f"{tuple(vectors.shape)} vectors for {len(entries)} items of width {space.width}")
        return space, IndexTable(entries, vectors)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ZooError(f"{path}: damaged, or not an index of zoo ({error}); delete it and build it again") from error


def write(folder: Path, space: Space, table: IndexTable) -> None:
    """Write the index of a folder. An existing index is replaced atomically, so a crash leaves the old one.

    Raises ZooError if it cannot be written, for example on a full disk.
    """
    items = json.dumps(table.entries, separators=(",", ":")).encode()
    tensors = {"vectors": table.vectors, "items": torch.frombuffer(bytearray(items), dtype=torch.uint8)}
    with replacing_file(folder / NAME) as partial:
        save_file(tensors, partial, {"zoo": json.dumps({"format": FORMAT, **asdict(space)})})
