"""Checks of numbers in configurations and arguments."""

from __future__ import annotations

import math
import operator
from typing import Any

from zoo.errors import ConfigError


def check_range(name: str, value: float | None, low: float, high: float = math.inf, *, above: bool = False) -> None:
    """Raises ConfigError for a value outside [low, high], and for NaN. above: `low` itself is not allowed.

    None, for fields that may be null, is allowed.
    """
    if value is None or (low < value <= high) or (value == low and not above):
        return
    lower = f"{'more than' if above else 'at least'} {low:g}"
    raise ConfigError(f"{name} {value:g}: must be {lower}" + ("" if high == math.inf else f" and at most {high:g}"))


def to_integers(**numbers: Any) -> list[int]:
    """The numbers as Python integers, for JSON. NumPy integers are converted. Raises ConfigError for other types."""
    try:
        return [operator.index(number) for number in numbers.values()]
    except TypeError as error:
        raise ConfigError(f"{', '.join(numbers)}: whole numbers are needed ({error})") from None
