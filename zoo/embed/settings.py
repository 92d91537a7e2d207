"""The settings of an embedding run: the encoder and its options."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from zoo._version import __version__
from zoo.defaults import BATCH_SECONDS, SHARD_ITEMS
from zoo.encoder import Encoder, Layer
from zoo.errors import ConfigError
from zoo.nn.pooling import check_pooling

STORAGE = ("float32", "float16")


@dataclass(frozen=True)
class EmbedSettings:
    """Everything besides the audio that the values of a row depend on. Stored in the plan and in every shard."""

    model: str
    fingerprint: str
    preprocessing: dict[str, Any]
    layers: tuple[int, ...]
    pooling: str | None  # None = frames
    width: int  # values per embedding: the encoder's D, or 2 D with pooling "stats"
    frame_rate: float
    dtype: str  # of the computation
    storage: str  # of the numbers in the files
    device: str
    batch_seconds: float
    shard_items: int
    zoo: str
    columns: dict[str, str] = field(default_factory=dict)  # kept columns of the lists -> their Arrow types

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        *,
        layer: Layer = -1,
        pooling: str | None = "mean",
        dtype: str = "float32",
        storage: str = "float32",
        batch_seconds: float = BATCH_SECONDS,
        shard_items: int = SHARD_ITEMS,
        columns: Mapping[str, str] | None = None,
    ) -> EmbedSettings:
        """Validated settings for this encoder. Raises ConfigError, with the name of the field."""
        if pooling is not None:
            check_pooling(pooling)
        if storage not in STORAGE:
            raise ConfigError(f"storage {storage!r} is unknown; choose one of {', '.join(STORAGE)}")
        if not 0 < batch_seconds < math.inf or shard_items < 1:
            raise ConfigError(f"batch_seconds {batch_seconds} and shard_items {shard_items}: both must be positive")
        return cls(
            model=encoder.name or encoder.family,
            fingerprint=encoder.fingerprint(),
            preprocessing=json.loads(json.dumps(encoder.preprocessing())),
            layers=tuple(dict.fromkeys(encoder.resolve_layers(_parse_layer(layer)))),
            pooling=pooling,
            width=encoder.dim * (2 if pooling == "stats" else 1),
            frame_rate=encoder.frame_rate,
            dtype=dtype,
            storage=storage,
            device=encoder.device.type,
            batch_seconds=float(batch_seconds),
            shard_items=shard_items,
            zoo=__version__,
            columns=dict(columns or {}),
        )

    def as_json(self) -> dict[str, Any]:
        """The settings as plain JSON values, as in a plan."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EmbedSettings:
        """The settings in a plan."""
        return cls(**{**values, "layers": tuple(values["layers"])})

    def count_bytes(self, seconds: float) -> float:
        """Bytes of the embeddings of a clip of this many seconds."""
        vectors = 1.0 if self.pooling else seconds * self.frame_rate
        return vectors * len(self.layers) * self.width * (2 if self.storage == "float16" else 4)


def _parse_layer(layer: Layer) -> Layer:
    """Text from the command line, such as "6" or "0,6,12" -> numbers. Other values stay unchanged."""
    if not isinstance(layer, str) or layer == "all":
        return layer
    try:
        return [int(part) for part in layer.split(",")]
    except ValueError:
        raise ConfigError(f'layer {layer!r}: give a number, several numbers separated by commas, or "all"') from None
