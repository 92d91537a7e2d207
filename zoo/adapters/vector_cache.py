"""Embeddings on disk, one file a clip, named after what the vector depends on."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from zoo.encoder import Encoder, Layer
from zoo.io.atomic import replacing_file
from zoo.nn.precision import dtype_of

_VERSION = 1  # raised if the same encoder and clip give another vector than before


class VectorCache:
    """<folder>/<settings>/<clip>.npy (D,) float32.

    <settings> hashes the weights, the preprocessing, layer, pooling, number format and device; <clip> hashes the bytes
    of the file, or the samples and their rate. Several processes may use a folder at once.
    """

    def __init__(
        self, folder: Path, encoder: Encoder, layer: Layer, pooling: str, sample_rate: int | None = None
    ) -> None:
        settings = [
            _VERSION,
            encoder.fingerprint(),
            encoder.preprocessing(),
            encoder.resolve_layers(layer),
            pooling,
            dtype_of(encoder),
            encoder.device.type,
        ]
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]
        self.folder = folder.expanduser() / digest
        self.width = encoder.dim * (2 if pooling == "stats" else 1)
        self.sample_rate = sample_rate

    def read(self, place: Path) -> np.ndarray | None:
        """The vector (D,) in a file; None if it is not there, or damaged."""
        try:
            vector = np.load(place, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return vector if vector.shape == (self.width,) and vector.dtype == np.float32 else None

    def write(self, place: Path, vector: np.ndarray) -> None:
        with replacing_file(place, shared=True) as partial, partial.open("wb") as file:
            np.save(file, vector)

    def place(self, clip: Any) -> Path | None:
        """The file of a clip; None for what cannot be named by its content: a missing file, an open file."""
        digest = hashlib.sha256()
        if isinstance(clip, (str, os.PathLike)):
            try:
                with Path(clip).expanduser().open("rb") as file:
                    for block in iter(lambda: file.read(1 << 20), b""):
                        digest.update(block)
            except OSError:
                return None
        elif hasattr(clip, "__array__"):
            samples = np.asarray(clip)
            digest.update(f"{self.sample_rate} {samples.dtype.str} {samples.shape}".encode())
            digest.update(np.ascontiguousarray(samples).tobytes())
        else:
            return None
        return self.folder / f"{digest.hexdigest()[:32]}.npy"
