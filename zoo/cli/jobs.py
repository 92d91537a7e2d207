"""`zoo jobs`: what the workers of a job have done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from zoo.io.terminal import print_plain

app = typer.Typer(help="Look at jobs that several workers share.", no_args_is_help=True)
console = Console()


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(help="The --out of the command")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Show what is done, claimed, failed and left, and how fast it goes."""
    from zoo.jobs.status import read_status

    found = read_status(folder)
    if as_json:
        print_plain(console, json.dumps(found.as_json()))
        return
    for line in found.lines():
        print_plain(console, line)
