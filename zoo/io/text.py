"""Text for files and messages: canonical JSON, printable file names, durations."""

from __future__ import annotations

import json


def dumps(value: object) -> str:
    """Canonical JSON of a value, for comparing and hashing plans."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def printable(text: str) -> str:
    """Text with lone surrogates escaped. Python uses these for bytes in file names that are not UTF-8.

    Parquet and JSON readers reject them.
    """
    return text.encode(errors="backslashreplace").decode()


def clock(seconds: float) -> str:
    """A duration as h:mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
