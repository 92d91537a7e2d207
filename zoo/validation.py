"""Checks of numbers in configurations and arguments."""

from __future__ import annotations

import math
import operator
from dataclasses import fields
from numbers import Integral, Real
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

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


def check_types(options: Any) -> None:
    """Raises ConfigError for a field of a dataclass with a value of another type than its annotation.

    Whole numbers are also allowed for fractions, and lists for tuples. NaN is not a number. Annotations: bool, int,
    float, str, a tuple of any number of these, None, a class, or a union of them.
    """
    hints = get_type_hints(type(options))
    for option in fields(options):
        value = getattr(options, option.name)
        if not _has_type(value, hints[option.name]):
            raise ConfigError(f"{option.name} {value!r}: give {_type_name(hints[option.name])}")


_PLAIN: dict[Any, tuple[type, str]] = {
    bool: (bool, "True or False"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "a text"),
    type(None): (type(None), "None"),
}


def _has_type(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_has_type(value, option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, (tuple, list)) and all(_has_type(item, get_args(hint)[0]) for item in value)
    if hint in (int, float) and isinstance(value, bool):
        return False
    expected, _ = _PLAIN.get(hint, (hint, ""))
    return isinstance(value, expected) and value == value  # NaN is not equal to itself


def _type_name(hint: Any) -> str:
    """The values of a type in words: "a whole number or None"."""
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_type_name(option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list: {_type_name(get_args(hint)[0])} each"
    _, name = _PLAIN.get(hint, (hint, hint.__name__))
    return name
