"""`zoo corpora`: commands that call zoo.corpora. Heavy imports are inside the commands."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(help="Generate speech and music corpora, and describe any corpus.", no_args_is_help=True)
console = Console()


class CorpusKind(str, Enum):
    speech = "speech"
    music = "music"
    scores = "scores"
    all = "all"


class CorpusSize(str, Enum):
    tiny = "tiny"
    small = "small"
    large = "large"


@app.command("build")
def build_corpus(
    kind: Annotated[CorpusKind, typer.Argument(help="Which corpus")] = CorpusKind.all,
    size: Annotated[
        CorpusSize, typer.Option(help="tiny: for tests; small: about 1 h of audio each; large: 10 h each")
    ] = CorpusSize.tiny,
    out: Annotated[Path | None, typer.Option(help="Output folder; default: the cache folder (ZOO_CACHE)")] = None,
    seed: Annotated[int, typer.Option(help="Random seed; each seed gives a different corpus")] = 0,
    workers: Annotated[int | None, typer.Option(help="Number of processes; default: one per core")] = None,
) -> None:
    """Generate a corpus. An interrupted build continues."""
    from zoo import corpora

    names = ("speech", "music") if kind is CorpusKind.all else (kind.value,)
    for name in names:
        folder = out / name if out and len(names) > 1 else out
        console.print(str(corpora.build(name, size.value, folder, seed=seed, workers=workers)), soft_wrap=True)


@app.command("describe")
def describe_corpus(
    source: Annotated[str, typer.Argument(help="Manifest, folder, table, hf:owner/name, or corpus:speech/small")],
) -> None:
    """Print hours, splits and labels of a data source, as JSON."""
    from zoo.data.inventory import describe

    console.print_json(data=describe(source))
