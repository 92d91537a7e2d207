"""Text forms: JSON that is compared, names that are printed, durations."""

from __future__ import annotations

import json


def dumps(value: object) -> str:
    """The one JSON form of a value: plans are compared and hashed by it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def printable(text: str) -> str:
    """File names may hold bytes that are not UTF-8 (Python: lone surrogates), which Parquet and JSON readers reject."""
    return text.encode(errors="backslashreplace").decode()


def clock(seconds: float) -> str:
    """h:mm:ss"""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
