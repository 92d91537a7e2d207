"""Numbers of a configuration that make no sense are refused where they are given."""

from __future__ import annotations

import math
import operator
from typing import Any

from zoo.errors import ConfigError


def check_range(name: str, value: float | None, least: float, most: float = math.inf, *, above: bool = False) -> None:
    """Raises ConfigError for a value outside least ... most, and for NaN. above: `least` itself is outside too.

    None, where a field may be null, is fine.
    """
    if value is None or (least < value <= most) or (value == least and not above):
        return
    lower = f"{'more than' if above else 'at least'} {least:g}"
    raise ConfigError(f"{name} {value:g}: must be {lower}" + ("" if most == math.inf else f" and at most {most:g}"))


def whole(**numbers: Any) -> list[int]:
    """The numbers as Python's integers, which JSON takes; NumPy's are welcome. Raises ConfigError for others."""
    try:
        return [operator.index(number) for number in numbers.values()]
    except TypeError as error:
        raise ConfigError(f"{', '.join(numbers)}: whole numbers are needed ({error})") from None
