"""One question to an index, with the model that made it, and its answer for people and programs: `zoo search`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from zoo import loading
from zoo.errors import CheckpointError, ConfigError, ZooError
from zoo.io.text import printable
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
    """The k best hits for a text, or for the sound of an audio file.

    model: what `zoo.load` takes; needed where the one that made the index has moved, or was given as an object.
    Loads the model each time: for many questions, keep one and an `Index`.

    Raises ConfigError unless there is exactly one of text and audio; ZooError where there is no index, nothing in it,
    or another model; CheckpointError where the model cannot be loaded; AudioError for a file that cannot be embedded.
    """
    if (text is None) == (audio is None):
        raise ConfigError("ask by a text or by an audio file: one of the two")
    index = Index.open(out)
    if not len(index):
        raise ZooError(f"{out} holds nothing to search yet; `zoo index` has not finished, or every file failed")
    source = model or index.space.model
    if not source:
        raise ZooError(
            f"{out} was made by a model given as an object ({index.space.name}): say where to load it from (--model)"
        )
    try:
        encoder = loading.load(source, device=device, dtype=index.space.dtype)
    except CheckpointError as error:
        moved = "" if model else f"; {out} was made by it: say where it is now (--model)"
        raise CheckpointError(f"{error}{moved}") from error
    if audio is not None:
        return index.query_audio(encoder, audio, k)
    assert text is not None
    return index.query_text(encoder, text, k)


def show(hits: Sequence[Hit], console: Console, *, as_json: bool = False) -> None:
    """Print scores and paths, and for parts of files their start in seconds: a table, or a JSON list of objects."""
    if as_json:
        found = [hit._asdict() | {"path": printable(hit.path)} for hit in hits]
        console.print_json(data=[{key: value for key, value in hit.items() if value is not None} for hit in found])
        return
    parts = any(hit.start is not None for hit in hits)
    rows = [("score", "start", "path")]
    rows += [(f"{hit.score:.3f}", f"{hit.start or 0:.1f} s", printable(hit.path)) for hit in hits]
    for score, start, path in rows:  # not a rich table, which would fold the paths
        line = f"{score:>6}  {start:>9}  {path}" if parts else f"{score:>6}  {path}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
