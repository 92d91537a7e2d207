"""A scikit-learn transformer: clips in, vectors out.

make_pipeline(AudioEmbedding("hubert-base", layer=6), StandardScaler(), LogisticRegression()).fit(paths, labels)
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from zoo import audio, loading
from zoo.adapters.vector_cache import VectorCache
from zoo.audio import Clip
from zoo.defaults import BATCH_SECONDS
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError
from zoo.nn.layers import plain_layer
from zoo.nn.pooling import check_pooling

ON_ERROR = ("raise", "nan")
_NAMED = 3  # clips that a warning names


class AudioEmbedding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Embed clips: paths, arrays or both.

    model: a source for zoo.load, or an encoder; device and dtype as in zoo.load; layer (one number) and pooling as in
    Encoder.embed; sample_rate: of arrays, in Hz.
    batch_seconds: audio that is decoded and embedded at once.
    cache: folder that keeps one small file a clip and setting, named after the content of the clip and the weights. So
    each clip is embedded once, whatever the folds of a cross-validation. None: nothing is kept.
    on_error: "raise", or "nan": a clip that cannot be used becomes a row of NaN, with a warning.

    `fit` learns nothing. The model is loaded at the first `transform`, and estimators with the same model share it. A
    pickle (joblib.dump) of an estimator that was used contains the weights.
    """

    def __init__(
        self,
        model: str | Path | Encoder = "logmel",
        layer: int = -1,
        pooling: str = "mean",
        sample_rate: int | None = None,
        device: str = "auto",
        dtype: str = "float32",
        batch_seconds: float = BATCH_SECONDS,
        cache: str | Path | None = None,
        on_error: str = "raise",
    ) -> None:
        self.model = model
        self.layer = layer
        self.pooling = pooling
        self.sample_rate = sample_rate
        self.device = device
        self.dtype = dtype
        self.batch_seconds = batch_seconds
        self.cache = cache
        self.on_error = on_error

    def fit(self, X: Any = None, y: Any = None) -> AudioEmbedding:
        """Checks the settings. Raises ConfigError."""
        self._check()
        self.__dict__.pop("_loaded", None)  # what is behind a path may have changed
        return self

    def transform(self, X: Any) -> np.ndarray:
        """N clips (paths, arrays or both), or a table with one column of clips -> (N, D) float32.

        Raises AudioError, naming the clip, for a clip that cannot be used, unless on_error is "nan"; also for an empty
        list, a single path or a table with several columns. Raises ConfigError for wrong settings.
        """
        self._check()
        clips = _rows(X)
        if not clips:
            raise AudioError("X", "contains no clips; pass a list of paths or arrays")
        encoder = self._encoder()
        vectors = np.full((len(clips), self._n_features_out), np.nan, dtype=np.float32)  # (N, D)
        if self.cache is None:
            for index, vector in self._embed(encoder, clips, range(len(clips))):
                vectors[index] = vector
            return vectors
        cache = VectorCache(Path(self.cache), encoder, self.layer, self.pooling, self.sample_rate)
        places = [cache.place(clip) for clip in clips]
        missing = []
        for index, place in enumerate(places):
            stored = None if place is None else cache.read(place)
            if stored is None:
                missing.append(index)
            else:
                vectors[index] = stored
        for index, vector in self._embed(encoder, clips, missing):
            vectors[index] = vector
            place = places[index]
            if place is not None:
                cache.write(place, vector)
        return vectors

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags

    @property
    def _n_features_out(self) -> int:
        """Width of the vectors; scikit-learn makes the names of the features from it."""
        return self._encoder().dim * (2 if self.pooling == "stats" else 1)

    def _check(self) -> None:
        check_pooling(self.pooling)
        if not isinstance(plain_layer(self.layer), int):
            raise ConfigError(f"layer {self.layer!r}: scikit-learn needs the features of one layer; give a number")
        if self.on_error not in ON_ERROR:
            raise ConfigError(f"on_error {self.on_error!r} is unknown; choose one of {', '.join(ON_ERROR)}")
        if not self.batch_seconds > 0:
            raise ConfigError(f"batch_seconds {self.batch_seconds}: must be positive")

    def _encoder(self) -> Encoder:
        if isinstance(self.model, Encoder):
            return self.model
        key = (str(self.model), self.device, self.dtype)
        if getattr(self, "_loaded", (None,))[0] != key:
            self._loaded = (key, _shared_model(self.model, self.device, self.dtype, _last_change(self.model)))
        return self._loaded[1]

    def _embed(self, encoder: Encoder, clips: list[Any], indices: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """(index, vector (D,)) of the clips with these indices that can be used."""
        for batch in self._batches(encoder, clips, indices):
            waves = list(batch.values())
            embedded = encoder.embed(waves, encoder.sample_rate, layer=self.layer, pooling=self.pooling)  # (B, D)
            yield from zip(batch, embedded.numpy(), strict=True)

    def _batches(self, encoder: Encoder, clips: list[Any], indices: Iterable[int]) -> Iterator[dict[int, Clip]]:
        """Batches of decoded clips by index, of at most `batch_seconds`, or of one longer clip."""
        batch: dict[int, Clip] = {}
        samples = 0
        failures = []
        for index in indices:
            try:
                wave = self._decode(encoder, index, clips[index])
            except AudioError as error:
                if self.on_error == "raise":
                    raise
                failures.append(error)
                continue
            if batch and samples + len(wave) > self.batch_seconds * encoder.sample_rate:
                yield batch
                batch, samples = {}, 0
            batch[index] = wave
            samples += len(wave)
        if batch:
            yield batch
        if failures:
            _warn(failures)

    def _decode(self, encoder: Encoder, index: int, clip: Any) -> Clip:
        try:
            rate = None if isinstance(clip, (str, os.PathLike)) else self.sample_rate  # a file has its own
            wave = audio.as_clip(clip, rate, encoder.sample_rate)
        except AudioError as error:
            if isinstance(clip, (str, os.PathLike)):
                raise
            raise AudioError(f"waveform {index}", error.reason) from None
        if encoder.count_frames(len(wave)):
            return wave
        item = clip if isinstance(clip, (str, os.PathLike)) else f"waveform {index}"
        raise AudioError(
            item,
            f"{len(wave)} samples at {encoder.sample_rate} Hz are too short for one frame; "
            f"{encoder.name or encoder.family} needs {encoder.min_samples}",
        )


@lru_cache(maxsize=2)
def _shared_model(model: str | Path, device: str, dtype: str, last_change: int) -> Encoder:
    """One model for all clones of an estimator. last_change: see `_last_change`."""
    return loading.load(model, device=device, dtype=dtype)


def _last_change(model: str | Path) -> int:
    """Time in ns of the last change of the files of a local model; 0 for a name."""
    path = Path(model).expanduser()
    files = [path, *path.rglob("*")] if path.exists() else []
    return max((file.stat().st_mtime_ns for file in files), default=0)


def _warn(failures: list[AudioError]) -> None:
    named = "; ".join(str(error) for error in failures[:_NAMED])
    more = f"; and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
    warnings.warn(f"{len(failures)} clips cannot be used, their rows are NaN: {named}{more}", stacklevel=4)


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
