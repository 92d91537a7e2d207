"""A scikit-learn transformer: clips in, vectors out.

make_pipeline(AudioEmbedding("hubert-base", layer=6), StandardScaler(), LogisticRegression()).fit(paths, labels)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from torch import Tensor

from zoo import loading
from zoo.encoder import Encoder, plain_layer
from zoo.errors import AudioError, ConfigError

_BATCH = 32  # clips


class AudioEmbedding(TransformerMixin, BaseEstimator):
    """model: a source for zoo.load, or an encoder; layer and pooling as in Encoder.embed; sample_rate: of arrays, Hz.

    `fit` does nothing. The model is loaded at the first `transform`, so that estimators are cheap to clone.
    """

    def __init__(
        self,
        model: str | Encoder = "logmel",
        layer: int = -1,
        pooling: str = "mean",
        sample_rate: int | None = None,
        device: str = "auto",
    ) -> None:
        self.model = model
        self.layer = layer
        self.pooling = pooling
        self.sample_rate = sample_rate
        self.device = device

    def fit(self, X: Any, y: Any = None) -> AudioEmbedding:
        return self

    def transform(self, X: Any) -> np.ndarray:
        """N clips (paths, arrays or both), or a table with one column of clips -> (N, D) float32.

        Raises AudioError, naming the clip, for a clip that cannot be used; also for an empty list, a single path or a
        table with several columns. Raises ConfigError if `layer` is not one number.
        """
        encoder, clips = self._encoder(), _rows(X)
        if not isinstance(plain_layer(self.layer), int):
            raise ConfigError(f"layer {self.layer!r}: scikit-learn needs the features of one layer; give a number")
        if not clips:
            raise AudioError("X", "contains no clips; pass a list of paths or arrays")
        parts = [self._embed(encoder, clips[start : start + _BATCH]) for start in range(0, len(clips), _BATCH)]
        return np.concatenate([part.numpy() for part in parts])

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def _embed(self, encoder: Encoder, clips: list[Any]) -> Tensor:
        """(B, D) of one batch. Its files have their own rates, also if it has no arrays and other batches do."""
        has_arrays = any(isinstance(clip, (np.ndarray, Tensor)) for clip in clips)
        rate = self.sample_rate if has_arrays else None
        return encoder.embed(clips, rate, layer=self.layer, pooling=self.pooling)

    def _encoder(self) -> Encoder:
        if isinstance(self.model, Encoder):
            return self.model
        if getattr(self, "_loaded", (None,))[0] != (self.model, self.device):
            self._loaded = ((self.model, self.device), loading.load(self.model, device=self.device))
        return self._loaded[1]


def _rows(X: Any) -> list[Any]:
    """The clips in X: the items of a list, the cells of a table with one column, or the rows of an array of numbers."""
    if isinstance(X, (str, bytes, os.PathLike, Mapping)):
        raise AudioError("X", f"is a {type(X).__name__}; pass a list of clips")
    if hasattr(X, "columns"):
        X = X.to_numpy()  # (N, columns)
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "OUT":
        if X.shape[1] != 1:
            raise AudioError("X", f"has {X.shape[1]} columns; pass the one with the clips")
        X = X[:, 0]  # (N,)
    return list(X)
