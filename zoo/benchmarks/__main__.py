"""python -m zoo.benchmarks: the same as `zoo bench`."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape

from zoo.benchmarks.command import app
from zoo.errors import ZooError

try:
    app()
except ZooError as error:
    Console(stderr=True).print("[bold red]error:[/]", escape(str(error)), highlight=False, soft_wrap=True)
    sys.exit(1)
