"""`zoo corpora`: each verb a thin layer over zoo.corpora. Heavy imports wait."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(help="Build and describe the embedded corpora.", no_args_is_help=True)
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
        CorpusSize, typer.Option(help="tiny: seconds to build; small: about 1 h each; large: 10 h each")
    ] = CorpusSize.tiny,
    out: Annotated[Path | None, typer.Option(help="Folder; default: the cache (ZOO_CACHE)")] = None,
    seed: Annotated[int, typer.Option(help="Another seed, another corpus")] = 0,
    workers: Annotated[int | None, typer.Option(help="Processes; default: one per core")] = None,
) -> None:
    """Generate a corpus, or finish one that was interrupted."""
    from zoo import corpora

    kinds = ("speech", "music") if kind is CorpusKind.all else (kind.value,)
    for each in kinds:
        folder = out / each if out and len(kinds) > 1 else out
        console.print(str(corpora.build(each, size.value, folder, seed=seed, workers=workers)), soft_wrap=True)


@app.command("describe")
def describe_corpus(
    source: Annotated[str, typer.Argument(help="Manifest, folder, table, hf:owner/name, or corpus:speech/small")],
) -> None:
    """Show hours, splits and labels of any source that recipes take."""
    from zoo.data.inventory import describe

    console.print_json(data=describe(source))
