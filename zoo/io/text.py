"""Text for files and messages: canonical JSON, printable file names, durations."""

from __future__ import annotations

import json
from collections.abc import Collection
from itertools import islice


def dumps(value: object) -> str:
    """Canonical JSON of a value, for comparing and hashing plans."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def printable(text: str) -> str:
    """Text with lone surrogates escaped. Python uses these for bytes in file names that are not UTF-8.

    Parquet and JSON readers reject them.
    """
    return text.encode(errors="backslashreplace").decode()


def shorten(value: object, limit: int = 80) -> str:
    """The repr of a value for a message, at most `limit` characters long: a cell of a table may be megabytes."""
    if isinstance(value, str | bytes):
        value = value[: limit + 1]  # the repr of the whole value could be megabytes, too
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def quote_names(names: Collection[str]) -> str:
    """The first few names, quoted, for a message."""
    quoted = ", ".join(shorten(name) for name in islice(names, 5))
    return quoted + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def clock(seconds: float) -> str:
    """A duration as h:mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
