"""An index that is open for questions.

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
from zoo.errors import AudioError, ConfigError, MissingDependencyError, ZooError
from zoo.io.paths import expand_path
from zoo.search import store
from zoo.search.nearest import Flat, nearest
from zoo.search.store import Space, Table
from zoo.search.text_models import TextEncoder, text_models

BACKENDS = ("auto", "torch", "faiss")
# faiss scans faster for few queries at once, torch multiplies faster for many; and faiss needs a copy of the vectors
# first, which takes as long as some dozens of single queries save (`benchmarks/speed/search.py`).
FEW_QUERIES, MANY_SEARCHES = 4, 32


class Hit(NamedTuple):
    """A file, or the part of it that begins at `start` seconds, and the cosine of its vector and the question's."""

    path: str
    start: float | None
    score: float


class Index:
    """Rows in the order of the inputs: `entries[row]` says what was embedded, `vectors` (N, D) are of unit length."""

    def __init__(self, folder: Path, space: Space, table: Table, backend: str = "auto") -> None:
        if backend not in BACKENDS:
            raise ConfigError(f"backend {backend!r} is unknown; choose one of {', '.join(BACKENDS)}")
        if backend == "faiss" and find_spec("faiss") is None:
            raise MissingDependencyError('backend "faiss" needs faiss: pip install "audiozoo[search]"')
        self.folder, self.space, self.backend = folder, space, backend
        self.entries, self.vectors = table.entries, table.vectors
        self._flat: Flat | None = None
        self._asked = 0  # searches of few queries so far
        self._checked: WeakSet[Encoder] = WeakSet()

    @classmethod
    def open(cls, out: str | Path, *, backend: str = "auto") -> Index:
        """The index that `build` made in a folder. What a build does to it from now on is not seen.

        backend: "torch", "faiss", or "auto": torch, and faiss (where it is installed) for an index that is asked often.
            All are exact; faiss holds a copy of the vectors in memory.
        Raises ZooError where there is no index or a damaged one, MissingDependencyError for faiss that is not there.
        """
        folder = expand_path(out)
        known = store.read(folder)
        if known is None:
            raise ZooError(f"{out}: no index here; make one with `zoo index DIR --model M --out {out}`")
        return cls(folder, *known, backend)

    def __len__(self) -> int:
        return len(self.entries)

    @torch.no_grad()
    def search(self, queries: Tensor, k: int = 10) -> tuple[Tensor, Tensor]:
        """queries (Q, D) of any length -> cosines (Q, k) falling, rows (Q, k) int64; fewer than k where N is less.

        Raises ConfigError for queries of another width or with infinite or NaN values, and for k < 1.
        """
        if queries.ndim != 2 or queries.shape[1] != self.space.width:
            raise ConfigError(f"queries of shape {tuple(queries.shape)}: (Q, {self.space.width}) is needed")
        if k < 1:
            raise ConfigError(f"k {k}: at least 1 is needed")
        queries = normalize(queries.detach().to("cpu", torch.float32), dim=1)
        if not torch.isfinite(queries).all():
            raise ConfigError("queries hold infinite or NaN values")
        k = min(k, len(self))
        if not k or not len(queries):
            return torch.zeros(len(queries), k), torch.zeros(len(queries), k, dtype=torch.long)
        if not self._by_faiss(len(queries)):
            return nearest(self.vectors, queries, k)
        self._flat = self._flat or Flat(import_module("faiss"), self.vectors)
        return self._flat(queries, k)

    def query_text(self, model: Encoder, text: str, k: int = 10) -> list[Hit]:
        """What sounds like the text says, best first.

        Raises ConfigError for a model that embeds no text, and for a text without a word.
        """
        self._check(model)
        if isinstance(text, str) and not text.strip():
            raise ConfigError("the text is empty: say what to look for")
        if not isinstance(model, TextEncoder):
            raise ConfigError(
                f"{model.name or model.family} embeds no text, so its index is asked by audio only; "
                f"for texts, make one with {' or '.join(text_models()) or 'a model that has embed_text'}"
            )
        return self._hits(model.embed_text([text]), k)

    def query_audio(self, model: Encoder, path: str | Path, k: int = 10) -> list[Hit]:
        """What sounds like the file, best first. Raises AudioError for a file that cannot be embedded."""
        self._check(model)
        try:
            return self._hits(model.embed([path]), k)
        except AudioError as error:
            # What is wrong with a waveform rather than with its file is told by its place.
            raise (AudioError(path, error.reason) if error.item == "waveform 0" else error) from error

    def _hits(self, query: Tensor, k: int) -> list[Hit]:
        scores, rows = self.search(query, k)  # (1, k)
        found = [self.entries[row] for row in rows[0].tolist()]
        return [Hit(entry.path, entry.start, score) for entry, score in zip(found, scores[0].tolist(), strict=True)]

    def _by_faiss(self, queries: int) -> bool:
        if self.backend != "auto" or queries > FEW_QUERIES:
            return self.backend == "faiss"
        self._asked += 1
        return self._asked > MANY_SEARCHES and find_spec("faiss") is not None

    def _check(self, model: Encoder) -> None:
        """Once for each model, since it reads all weights. Raises ZooError."""
        if model in self._checked:
            return
        if (fingerprint := model.fingerprint()) != self.space.fingerprint:
            raise ZooError(
                f"{self.folder} is an index by {self.space.name} ({self.space.dtype}, fingerprint "
                f"{self.space.fingerprint}), and this is {model.name or model.family} ({fingerprint}): "
                "ask with the very model, in the same dtype, that made it"
            )
        self._checked.add(model)
