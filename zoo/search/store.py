"""An index on disk: one file, which is memory-mapped by readers and replaced whole by writers.

index.safetensors
    vectors    (N, D) unit vectors, float32 or float16
    items      bytes of a JSON list: [path, start, end, size, mtime_ns] for each row
    metadata   "zoo": JSON of `Space`, and the number of this format

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
    """What a row was computed from. A file whose size or time is another has changed."""

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
    """What makes the vectors of an index comparable with each other and with those of a question.

    model: what `zoo.load` takes to get the encoder again; "" where it was given as an object.
    dtype: number format that the encoder computes in; storage: that of the vectors.
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
        """Raises ConfigError for an unknown storage."""
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
            return self  # and not a copy in memory of what is mapped
        return IndexTable(self.entries + other.entries, torch.cat([self.vectors, other.vectors]))

    def keep(self, entries: Iterable[IndexEntry]) -> IndexTable:
        """The rows of these entries, in this order; those that the table lacks are left out."""
        places = {entry: row for row, entry in enumerate(self.entries)}
        rows = [row for entry in entries if (row := places.get(entry)) is not None]
        if rows == list(range(len(self.entries))):
            return self
        return IndexTable([self.entries[row] for row in rows], self.vectors[torch.tensor(rows, dtype=torch.long)])


def empty(space: Space) -> IndexTable:
    return IndexTable([], torch.zeros(0, space.width, dtype=getattr(torch, space.storage)))


def read(folder: Path) -> tuple[Space, IndexTable] | None:
    """The index in a folder, its vectors mapped and not read; None where there is none.

    Raises ZooError for a damaged file or a format of another version.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            head = json.loads((file.metadata() or {})["zoo"])
            if (version := head.pop("format")) != FORMAT:
                raise ZooError(f"{path}: format {version}, this version of zoo reads {FORMAT}; build it anew")
            space, vectors = Space(**head), file.get_tensor("vectors")
            entries = [IndexEntry(*item) for item in json.loads(file.get_tensor("items").numpy().tobytes())]
        if vectors.shape != (len(entries), space.width):
            raise ValueError(f"{tuple(vectors.shape)} vectors for {len(entries)} items of width {space.width}")
        return space, IndexTable(entries, vectors)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ZooError(f"{path}: damaged, or not an index of zoo ({error}); delete it and build it anew") from error


def write(folder: Path, space: Space, table: IndexTable) -> None:
    """Put a new index in the place of the old one; until that moment, and after any crash before it, the old one is.

    Raises ZooError where it cannot be written: on a full disk, for one.
    """
    items = json.dumps(table.entries, separators=(",", ":")).encode()
    tensors = {"vectors": table.vectors, "items": torch.frombuffer(bytearray(items), dtype=torch.uint8)}
    with replacing_file(folder / NAME) as partial:
        save_file(tensors, partial, {"zoo": json.dumps({"format": FORMAT, **asdict(space)})})
