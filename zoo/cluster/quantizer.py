"""The quantizer: frames -> units. Its file also says which features it belongs to.

quantizer.safetensors   one tensor of centroids per codebook; metadata: source (model, fingerprint, layer, rate,
                        preprocessing), codebooks (first and last column of each), fit (seed, k, hours, rows, data)

Legend: T frames, D width, K centroids, C codebooks.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.cluster.nearest import nearest
from zoo.encoder import Encoder
from zoo.errors import CheckpointError, ConfigError
from zoo.io.atomic import replacing_file
from zoo.io.small_files import LFS_ADVICE, check_regular, is_lfs_pointer
from zoo.io.text import shorten

_FORMAT = 1


@dataclass(frozen=True)
class Codebook:
    """centroids (K, D') over the columns first ... last - 1 of a frame."""

    first: int
    last: int
    centroids: Tensor


@dataclass(frozen=True, eq=False)
class Quantizer:
    """A fitted quantizer. source: FeatureSource.describe(); fit: arguments and counts of `fit_quantizer`."""

    codebooks: tuple[Codebook, ...]
    source: Mapping[str, Any]
    fit: Mapping[str, Any]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of each codebook."""
        return tuple(len(codebook.centroids) for codebook in self.codebooks)

    @property
    def rate(self) -> float:
        """Units per second."""
        return float(self.source["rate"])

    @property
    def layer(self) -> int:
        return int(self.source["layer"])

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of a SHA-256 over source, columns and centroids."""
        digest = hashlib.sha256(str(self.source["fingerprint"]).encode())
        digest.update(f"{self.layer} {self.rate}".encode())
        for codebook in self.codebooks:
            digest.update(f"{codebook.first} {codebook.last} {tuple(codebook.centroids.shape)}".encode())
            digest.update(codebook.centroids.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def assign(self, frames: Tensor) -> Tensor:
        """frames (T, D) of the source -> units (T, C) int64, on the same device.

        Raises ConfigError if D is not the width of the source.
        """
        width = max(book.last for book in self.codebooks)
        if frames.ndim != 2 or frames.shape[1] != width:
            raise ConfigError(f"frames of shape {tuple(frames.shape)}: this quantizer takes (T, {width}) frames")
        columns = [
            nearest(frames[:, book.first : book.last], book.centroids.to(frames.device)).labels
            for book in self.codebooks
        ]
        return torch.stack(columns, dim=1)  # (T, C)

    def check(self, encoder: Encoder) -> None:
        """Raise CheckpointError unless the quantizer was fitted on features of this encoder, without centering."""
        if self.source.get("centered"):
            raise CheckpointError(
                "this quantizer was fitted on centered features, which are for training targets only; fit one without "
                "`centered` to attach it to a model"
            )
        fingerprint = encoder.fingerprint()
        if fingerprint != self.source["fingerprint"]:
            raise CheckpointError(
                f"this quantizer belongs to {self.source['model']} ({self.source['fingerprint']}), layer {self.layer}, "
                f"not to {encoder.name or encoder.family} ({fingerprint}): load the encoder that it was fitted on, or "
                "fit a new quantizer with zoo.units.fit_quantizer"
            )

    def rebind(self, encoder: Encoder) -> Quantizer:
        """The same quantizer for a copy of its encoder, such as one in half precision.

        The caller must make sure that the features of the two encoders differ by rounding only; this is not checked.
        """
        return replace(self, source=dict(self.source) | {"fingerprint": encoder.fingerprint()})

    def save(self, path: str | Path) -> None:
        """Write one file. An existing file is replaced atomically."""
        columns = [[book.first, book.last] for book in self.codebooks]
        header = {"format": _FORMAT, "source": dict(self.source), "codebooks": columns, "fit": dict(self.fit)}
        tensors = {f"centroids.{i}": book.centroids.cpu().contiguous() for i, book in enumerate(self.codebooks)}
        with replacing_file(Path(path)) as temporary:
            save_file(tensors, temporary, metadata={"zoo.quantizer": json.dumps(header, sort_keys=True)})

    @classmethod
    def load(cls, path: str | Path) -> Quantizer:
        """Read a file that `save` wrote. Raises CheckpointError if it is missing, damaged or of another kind."""
        path = Path(path).expanduser()
        check_regular(path)
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})["zoo.quantizer"])
                if header["format"] != _FORMAT:
                    raise CheckpointError(
                        f"{path}: quantizer format {shorten(header['format'])}, but this version of zoo reads "
                        f"{_FORMAT}; upgrade audiozoo"
                    )
                columns = [(first, last) for first, last in header["codebooks"]]
                books = [Codebook(*span, file.get_tensor(f"centroids.{i}")) for i, span in enumerate(columns)]
                quantizer = cls(tuple(books), header["source"], header["fit"])
                _check_content(quantizer)
                return quantizer
        except CheckpointError:
            raise
        except KeyError as error:
            raise CheckpointError(f"{path}: not a quantizer that zoo saved ({error} is missing)") from error
        except (OSError, SafetensorError, ValueError, TypeError, RecursionError) as error:
            if is_lfs_pointer(path):
                raise CheckpointError(f"{path}: {LFS_ADVICE}") from error
            raise CheckpointError(f"{path}: cannot be read as a quantizer ({error})") from error


def _check_content(quantizer: Quantizer) -> None:
    """Raises ValueError, naming the field, for values that no fitted quantizer has."""
    source = quantizer.source
    if not isinstance(source, Mapping) or not isinstance(quantizer.fit, Mapping):
        raise ValueError("source and fit must be tables")
    layer, rate = source["layer"], source["rate"]
    if not isinstance(source["model"], str) or not isinstance(source["fingerprint"], str):
        raise ValueError("source: model and fingerprint must be texts")
    if not isinstance(layer, int) or isinstance(layer, bool) or layer < 0:
        raise ValueError(f"source: layer is {shorten(layer)}")
    if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 < rate < math.inf:
        raise ValueError(f"source: rate is {shorten(rate)}")
    if not quantizer.codebooks:
        raise ValueError("codebooks: there is none")
    for number, book in enumerate(quantizer.codebooks):
        whole = isinstance(book.first, int) and isinstance(book.last, int)
        if not whole or not 0 <= book.first < book.last:
            raise ValueError(f"codebooks: the columns of number {number} are {shorten([book.first, book.last])}")
        centroids = book.centroids
        shape = tuple(centroids.shape)
        if len(shape) != 2 or shape[0] == 0 or shape[1] != book.last - book.first:
            raise ValueError(f"centroids.{number}: shape {shape} for columns {book.first} to {book.last}")
        if not centroids.is_floating_point() or not bool(centroids.isfinite().all()):
            raise ValueError(f"centroids.{number}: not all are finite numbers")


def columns_of(dim: int, sizes: Sequence[int], product: int | None) -> list[tuple[int, int, int]]:
    """(first column, last column + 1, k) of each codebook. A codebook has all columns, or one of `product` slices."""
    if product is None:
        return [(0, dim, k) for k in sizes]
    limits = [dim * i // product for i in range(product + 1)]
    return [(first, last, sizes[0]) for first, last in pairwise(limits)]
