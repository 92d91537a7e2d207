"""How callers name the layers whose frames they want."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from zoo.errors import ConfigError

Layer = int | Sequence[int] | str
"""A layer number, several of them, or "all". 0 = input of the transformer stack, k = after block k, -1 = the last."""


def plain_layer(layer: Any) -> Layer:
    """The layer as Python integers; NumPy integers are converted. Raises ConfigError for anything else."""
    if isinstance(layer, (str, int)):
        return layer
    if isinstance(layer, (list, tuple)) and all(isinstance(k, int) for k in layer):
        return list(layer)  # torch.compile can trace this branch, but not the try blocks below
    try:
        return operator.index(layer)
    except TypeError:  # not a single number
        pass
    try:
        return [operator.index(k) for k in layer]
    except TypeError:
        raise ConfigError(f'layer {layer!r}: give a number, a list of numbers, or "all"') from None
