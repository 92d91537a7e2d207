"""k-means of rows in memory, or of a stream of any length in bounded memory.

    stream --> uniform sample (reservoir) --> solve --> `passes` more passes over the stream, each an exact iteration

Legend: N rows, D width, K centroids.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.cluster.lloyd import ITERATIONS, TOLERANCE, solve
from zoo.cluster.nearest import cluster_sums, means, nearest
from zoo.cluster.sample import SAMPLE_BYTES, Reservoir, check_finite
from zoo.errors import CheckpointError, ConfigError
from zoo.io.atomic import replacing_file
from zoo.validation import to_integers

_FORMAT = "zoo k-means 1"


class KMeans:
    """k centroids that minimize the sum of squared distances between each row and its nearest centroid.

    seed: the only source of randomness; the same rows and seed give the same bytes.
    iterations: maximum number of Lloyd iterations. tolerance: stop if the relative gain in inertia is smaller.
    sample_bytes: memory for rows of a stream, as float32; a longer stream is sampled uniformly.
    passes: for a stream that did not fit into the sample, number of exact Lloyd iterations over the whole stream.
    Raises ConfigError for numbers that are too small or not whole.
    """

    def __init__(
        self,
        k: int,
        seed: int = 0,
        *,
        iterations: int = ITERATIONS,
        tolerance: float = TOLERANCE,
        sample_bytes: int = SAMPLE_BYTES,
        passes: int = 1,
    ) -> None:
        self.k, self.seed, self.iterations = to_integers(k=k, seed=seed, iterations=iterations)
        self.sample_bytes, self.passes = to_integers(sample_bytes=sample_bytes, passes=passes)
        if k < 1 or iterations < 1 or passes < 0:
            raise ConfigError(f"k {k}, iterations {iterations}, passes {passes}: must be at least 1, 1 and 0")
        self.tolerance = float(tolerance)
        self._centroids: Tensor | None = None

    @property
    def centroids(self) -> Tensor:
        """(K, D) float32. Raises ConfigError before `fit`."""
        if self._centroids is None:
            raise ConfigError("this KMeans has no centroids yet: call fit, or load a saved one")
        return self._centroids

    def fit(self, features: Any) -> KMeans:
        """Fit the centroids; returns self.

        features: (N, D) tensor or array, or an iterable of them. With an iterator or generator there are no `passes`,
        because it can be read only once.
        Raises ConfigError if there are fewer than k rows, if the sample has fewer than k rows, if the width changes, if
        float32 cannot hold the squared values, and for NaN or infinity.
        """
        if isinstance(features, Tensor | np.ndarray):
            rows, seen = _matrix(features), len(features)
            check_finite(rows)
        else:
            reservoir = Reservoir(self.sample_bytes, self.seed)
            for number, part in enumerate(features):
                x = _matrix(part)
                check_finite(x, f"part {number}")  # all rows, because the passes use rows that the sample may lack
                reservoir.add(x)
            rows, seen = reservoir.rows_for(self.k), reservoir.seen
        self._centroids = solve(
            rows,
            self.k,
            torch.Generator().manual_seed(self.seed),
            iterations=self.iterations,
            tolerance=self.tolerance,
        )
        if seen > len(rows) and not isinstance(features, Iterator):
            for _ in range(self.passes):
                self._centroids = self._pass(_parts(features))
        return self

    def assign(self, x: Any) -> Tensor:
        """The index of the nearest centroid for each row of x (N, D): (N,) int64.

        Raises ConfigError if the width is not that of the centroids, and for NaN or infinity.
        """
        rows = _matrix(x)
        check_finite(rows)
        return nearest(rows, self.centroids).labels

    def inertia(self, x: Any) -> float:
        """Sum of the squared distances to the nearest centroids. x: rows (N, D), or an iterable of them."""
        return sum(float(nearest(part, self.centroids).distances.sum(dtype=torch.float64)) for part in _parts(x))

    def save(self, path: str | Path) -> None:
        """Write centroids and settings as safetensors. An existing file is replaced atomically."""
        settings = {name: getattr(self, name) for name in _SETTINGS}
        with replacing_file(Path(path)) as temporary:
            tensors = {"centroids": self.centroids.cpu().contiguous()}
            save_file(tensors, temporary, metadata={"zoo": json.dumps({"format": _FORMAT, **settings})})

    @classmethod
    def load(cls, path: str | Path) -> KMeans:
        """Read a file that `save` wrote. Raises CheckpointError if it is missing, damaged or of another kind."""
        path = Path(path).expanduser()
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get("zoo", "{}"))
                if header.pop("format", None) != _FORMAT:
                    raise CheckpointError(f"{path}: not a k-means that zoo saved")
                model = cls(**header)
                model._centroids = file.get_tensor("centroids")
                return model
        except (OSError, SafetensorError, ValueError, TypeError, AttributeError) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f"{path}: cannot be read as a saved k-means ({error})") from error

    def _pass(self, parts: Iterator[Tensor]) -> Tensor:
        sums = torch.zeros_like(self.centroids, dtype=torch.float64)
        counts = torch.zeros(self.k, dtype=torch.int64, device=sums.device)
        for x in parts:
            part_sums, part_counts = cluster_sums(x, nearest(x, self.centroids).labels, self.k)
            sums += part_sums.to(sums.device)
            counts += part_counts.to(sums.device)
        return means(sums, counts, self.centroids)


_SETTINGS = ("k", "seed", "iterations", "tolerance", "sample_bytes", "passes")


def _parts(features: Any) -> Iterator[Tensor]:
    parts: Iterable[Any] = [features] if isinstance(features, Tensor | np.ndarray) else features
    return map(_matrix, parts)


def _matrix(x: Any) -> Tensor:
    """(N, D) as a float tensor, without a copy if x is one already."""
    with warnings.catch_warnings():  # PyTorch warns about read-only arrays, but nothing here writes to x
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        x = torch.as_tensor(x)
    if x.ndim != 2 or not x.shape[1] or not x.is_floating_point():
        raise ConfigError(f"features must be rows of floats (N, D), not {x.dtype} of shape {tuple(x.shape)}")
    return x.detach()
