"""Checks of numbers in configurations and arguments."""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Collection
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
            raise ConfigError(f"{option.name} {reprlib.repr(value)}: give {_type_name(hints[option.name])}")


def check_structure(config: Any, may_be_zero: Collection[str] = ()) -> None:
    """Raises ConfigError for a wrong type, a number that is not finite, or a count below 1 in the config of a model.

    Counts are all whole numbers, also those in tuples. may_be_zero: fields that may be 0. Fields with dropout in their
    name, and layerdrop, are probabilities.
    """
    check_types(config)
    hints = get_type_hints(type(config))
    for option in fields(config):
        name, hint, value = option.name, hints[option.name], getattr(config, option.name)
        lowest = 0 if name in may_be_zero else 1
        if hint is int:
            check_range(name, value, lowest)
        elif hint == tuple[int, ...]:
            for count in value:
                check_range(name, count, lowest)
        elif hint is float and not math.isfinite(value):
            raise ConfigError(f"{name} {value!r}: give a finite number")
        if "dropout" in name or name == "layerdrop":
            check_range(name, value, 0, 1)


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
