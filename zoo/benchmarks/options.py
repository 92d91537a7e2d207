"""Options of the kinds of task that follow a published protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.errors import ConfigError

OPTIONS: dict[str, dict[str, Any]] = {
    "kshot": {"shots": 8, "draws": 10},
    "knn": {"neighbors": 10, "temperature": 0.07, "scale": "clips"},
    "mlp": {"recipe": "hear"},
    "clustering": {"runs": 10, "sample": 16_384},
    "pairs": {"pair": "", "target": 0.01},
    "abx": {"speakers": "within", "context": "triphone", "tokens": 10, "others": 5},
}
"""Options of each protocol with their defaults: those of the publication."""
CHOICES = {
    "scale": ("clips", "features"),
    "recipe": ("hear", "xares"),
    "speakers": ("within", "across"),
    "context": ("triphone", "phone", "any"),
}


def with_defaults(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a task of this kind. Raises ConfigError for an unknown option, and for a value that is no such."""
    found = dict(OPTIONS[kind])
    for name, value in given.items():
        if name not in found:
            raise ConfigError(f"options: {kind} has no option {name!r}; it has {', '.join(found)}")
        found[name] = _checked(name, value, found[name])
    return found


def _checked(name: str, value: Any, default: Any) -> Any:
    if isinstance(default, str):
        if name in CHOICES and value not in CHOICES[name]:
            raise ConfigError(f"options: {name} is {value!r}; choose one of {', '.join(CHOICES[name])}")
        return str(value)
    whole = isinstance(default, int)
    kind = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind) or not value > 0:
        needed = "a whole number of 1 or more" if whole else "a number above 0"
        raise ConfigError(f"options: {name} is {value!r}, but must be {needed}")
    return value
