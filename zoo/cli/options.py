"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

WorkerOption = Annotated[
    str | None,
    typer.Option(
        "--worker",
        help="Share the work with other processes: I/N (I from 0 to N - 1), or auto under SLURM and Kubernetes",
    ),
]
EngineOption = Annotated[str, typer.Option("--engine", help="local, or ray: processes on a Ray cluster")]
AddressOption = Annotated[str | None, typer.Option("--address", help="Running Ray cluster; default: start one here")]
