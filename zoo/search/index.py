"""An index opened for queries.

Legend: N rows, Q queries, D width.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor
from torch.nn.functional import normalize

from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError, MissingDependencyError, ZooError, install
from zoo.io.paths import expand_path
from zoo.search import store
from zoo.search.nearest import Flat, nearest
from zoo.search.store import IndexTable, Space
from zoo.search.text_models import TextEncoder, text_models

BACKENDS = ("auto", "torch", "faiss")
# faiss is faster for few queries at once, torch for many. faiss first needs a copy of the vectors, which pays off only
# after some dozens of single queries (`benchmarks/speed/search.py`).
FEW_QUERIES, MANY_SEARCHES = 4, 32


class Hit(NamedTuple):
    """A file, or the part of it that starts at `start` seconds. score: cosine of its vector and the query's vector."""

    path: str
    start: float | None
    score: float


class Index:
    """An open index. Row i has the item `entries[i]` and the vector `vectors[i]` (D,), of unit length.

    Raises ConfigError for an unknown backend, MissingDependencyError if faiss is not installed.
    """

    def __init__(self, folder: Path, space: Space, table: IndexTable, backend: str = "auto") -> None:
        if backend not in BACKENDS:
            raise ConfigError(f"backend {backend!r} is unknown; choose one of {', '.join(BACKENDS)}")
        if backend == "faiss" and find_spec("faiss") is None:
            raise MissingDependencyError(f'backend "faiss" needs faiss: {install("search")}')
        self.folder, self.space, self.backend = folder, space, backend
        self.entries, self.vectors = table.entries, table.vectors
        self._flat: Flat | None = None
        self._small_searches = 0  # searches with few queries so far
        self._checked: WeakSet[Encoder] = WeakSet()

    @classmethod
    def open(cls, out: str | Path, *, backend: str = "auto") -> Index:
        """Open the index in a folder. Later updates of the folder do not change the open index.

        backend: "torch", "faiss", or "auto": torch first, and faiss (if installed) after many small searches. All are
            exact; faiss keeps a copy of the vectors in memory.
        Raises ZooError if there is no index or it is damaged, ConfigError for an unknown backend,
        MissingDependencyError if faiss is not installed.
        """
        folder = expand_path(out)
        stored = store.read(folder)
        if stored is None:
            raise ZooError(f"{out}: no index here; make one with `zoo index DIR --model M --out {out}`")
        return cls(folder, *stored, backend)

    def __len__(self) -> int:
        return len(self.entries)

    @torch.no_grad()
    def search(self, queries: Tensor, k: int = 10) -> tuple[Tensor, Tensor]:
        """The k best rows for each query: cosines (Q, k) in descending order, rows (Q, k) int64.

        queries: (Q, D) vectors of any length. If the index has fewer than k rows, all rows are returned.
        Raises ConfigError for queries of another width or with infinite or NaN values, and for k < 1.
        """
        if queries.ndim != 2 or queries.shape[1] != self.space.width:
            raise ConfigError(f"queries of shape {tuple(queries.shape)}: must be (Q, {self.space.width})")
        if k < 1:
            raise ConfigError(f"k {k}: must be at least 1")
        queries = normalize(queries.detach().to("cpu", torch.float32), dim=1)
        if not torch.isfinite(queries).all():
            raise ConfigError("queries have infinite or NaN values")
        k = min(k, len(self))
        if not k or not len(queries):
            return torch.zeros(len(queries), k), torch.zeros(len(queries), k, dtype=torch.long)
        if not self._use_faiss(len(queries)):
            return nearest(self.vectors, queries, k)
        self._flat = self._flat or Flat(import_module("faiss"), self.vectors)
        return self._flat(queries, k)

    def query_text(self, model: Encoder, text: str, k: int = 10) -> list[Hit]:
        """The k best hits for a text, best first. model: the encoder that made the index.

        Raises ZooError for another model, ConfigError for an empty text or a model that cannot embed text.
        """
        self._check(model)
        if isinstance(text, str) and not text.strip():
            raise ConfigError("the text is empty; describe the audio to search for")
        if not isinstance(model, TextEncoder):
            raise ConfigError(
                f"{model.name or model.family} cannot embed text, so its index can be searched by audio only; "
                f"for text queries, make an index with {' or '.join(text_models()) or 'a model that has embed_text'}"
            )
        return self._hits(model.embed_text([text]), k)

    def query_audio(self, model: Encoder, path: str | Path, k: int = 10) -> list[Hit]:
        """The k best hits for an audio file, best first. model: the encoder that made the index.

        Raises ZooError for another model, AudioError if the file cannot be embedded.
        """
        self._check(model)
        try:
            return self._hits(model.embed([path]), k)
        except AudioError as error:
            # Errors about the decoded waveform have its index as the item, not the path.
            raise (AudioError(path, error.reason) if error.item == "waveform 0" else error) from error

    def _hits(self, query: Tensor, k: int) -> list[Hit]:
        scores, rows = self.search(query, k)  # (1, k)
        entries = [self.entries[row] for row in rows[0].tolist()]
        return [Hit(entry.path, entry.start, score) for entry, score in zip(entries, scores[0].tolist(), strict=True)]

    def _use_faiss(self, queries: int) -> bool:
        if self.backend != "auto" or queries > FEW_QUERIES:
            return self.backend == "faiss"
        self._small_searches += 1
        return self._small_searches > MANY_SEARCHES and find_spec("faiss") is not None

    def _check(self, model: Encoder) -> None:
        """Raise ZooError if another model made the index. Done once per model, because it reads all weights."""
        if model in self._checked:
            return
        if (fingerprint := model.fingerprint()) != self.space.fingerprint:
            raise ZooError(
                f"{self.folder} was made with {self.space.name} ({self.space.dtype}, fingerprint "
                f"{self.space.fingerprint}), not with {model.name or model.family} ({fingerprint}); search with the "
                "model that made the index, in the same dtype"
            )
        self._checked.add(model)
