"""`zoo search`: one query to an index with the model that made it, and printing of the hits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from zoo import loading
from zoo.errors import CheckpointError, ConfigError, ZooError
from zoo.io.terminal import print_plain
from zoo.io.text import one_line, printable
from zoo.search.index import Hit, Index


def find(
    out: str | Path,
    text: str | None = None,
    *,
    audio: str | Path | None = None,
    k: int = 10,
    model: str | Path | None = None,
    device: str = "auto",
) -> list[Hit]:
    """The k best hits for a text or for an audio file, best first.

    out: folder of the index. text, audio: exactly one of them.
    model: anything that `zoo.load` takes. It is needed only if the model of the index has moved, or was an object.
    This loads the model each time. For many queries, keep a model and an `Index`.

    Raises ConfigError unless exactly one of text and audio is given; ZooError if there is no index, it is empty, or
    another model made it; CheckpointError if the model cannot be loaded; AudioError if the file cannot be embedded.
    """
    if (text is None) == (audio is None):
        raise ConfigError("give a text or an audio file to search for, one of the two")
    index = Index.open(out)
    if not len(index):
        raise ZooError(f"{out} is empty: `zoo index` has not finished, or every file failed; run `zoo index` again")
    source = model or index.space.model
    if not source:
        raise ZooError(
            f"{out} was made with a model object ({index.space.name}), not a saved model; give its path with --model"
        )
    try:
        encoder = loading.load(source, device=device, dtype=index.space.dtype)
    except CheckpointError as error:
        hint = "" if model else f"; {out} was made with this model: if it has moved, give its path with --model"
        raise CheckpointError(f"{error}{hint}") from error
    if audio is not None:
        return index.query_audio(encoder, audio, k)
    assert text is not None
    return index.query_text(encoder, text, k)


def show(hits: Sequence[Hit], console: Console, *, as_json: bool = False) -> None:
    """Print the hits as a table or as a JSON list: score, path, and for parts of files the start in seconds."""
    if as_json:
        records = [hit._asdict() | {"path": printable(hit.path)} for hit in hits]
        console.print_json(data=[{key: value for key, value in hit.items() if value is not None} for hit in records])
        return
    parts = any(hit.start is not None for hit in hits)
    rows = [("score", "start", "path")]
    rows += [(f"{hit.score:.3f}", f"{hit.start or 0:.1f} s", one_line(hit.path)) for hit in hits]
    for score, start, path in rows:  # a rich table would wrap long paths
        line = f"{score:>6}  {start:>9}  {path}" if parts else f"{score:>6}  {path}"
        print_plain(console, line)
