"""Columns of the lists that are kept in the Parquet files, such as labels and folds."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from zoo.errors import ConfigError
from zoo.io.text import printable
from zoo.jobs.lists import Item, Label

# Columns that the files have without any list; `zoo.embed.writer` documents them.
OWN_COLUMNS = (
    *("item", "path", "start", "duration", "part", "layer", "frame_rate", "model", "fingerprint"),
    *("embedding", "frames"),
)
_INT64 = range(-(2**63), 2**63)


def parse_names(names: str | Sequence[str]) -> list[str]:
    """Names of columns; text from the command line has commas between them. Raises ConfigError for a name in use."""
    parts = names.split(",") if isinstance(names, str) else names
    unique = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
    for name in unique:
        if name in OWN_COLUMNS:
            raise ConfigError(f"keep_columns {name!r}: the files have a column of that name; rename it in the list")
    return unique


def column_types(names: Sequence[str], items: Sequence[Item]) -> dict[str, str]:
    """The Arrow type of each column. A column with values of several kinds is text.

    Raises ConfigError for a column that no item has.
    """
    types: dict[str, str] = {}
    for index, name in enumerate(names):
        values = [item.labels[index] for item in items if item.labels[index] is not None]
        if not values:
            raise ConfigError(f"keep_columns {name!r}: no list among the inputs has such a column with values")
        types[name] = _type(values)
    return types


def as_array(values: Sequence[Label], arrow_type: str) -> pa.Array:
    """The values of a column, as the type that `column_types` chose."""
    if arrow_type == "string":
        values = [None if value is None else printable(str(value)) for value in values]
    return pa.array(values, pa.type_for_alias(arrow_type))


def _type(values: Sequence[Label]) -> str:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return "bool"
    if kinds == {int} and all(value in _INT64 for value in values):
        return "int64"
    if kinds <= {int, float}:
        return "double"
    return "string"
