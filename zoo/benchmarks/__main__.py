"""python -m zoo.benchmarks: the same as `zoo bench`."""

from __future__ import annotations

from zoo.benchmarks.command import app
from zoo.cli import readable_errors

with readable_errors():
    app()
