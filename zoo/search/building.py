"""Build or update an index. Only new and changed files are embedded.

before  index.safetensors (rows of an earlier build) + increment/ (finished shards of a killed build)
during  rows of both for unchanged files + the other files, embedded into increment/
after   index.safetensors, replaced atomically; increment/ is removed
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from zoo import embed, registry
from zoo.defaults import BATCH_SECONDS
from zoo.encoder import Encoder
from zoo.errors import ZooError
from zoo.io import messages
from zoo.io.locks import lock_folder
from zoo.io.paths import expand_path
from zoo.io.terminal import print_plain
from zoo.io.text import clock
from zoo.jobs.failures import ERRORS_NAME
from zoo.jobs.inputs import collect
from zoo.jobs.lists import Item
from zoo.jobs.survey import file_stamp
from zoo.loading import open_encoder
from zoo.search import increment, store
from zoo.search.store import IndexEntry, IndexTable, Space


@dataclass(frozen=True)
class IndexSummary:
    """The result of a build.

    items: number of items in the index. added, changed, removed: compared with the index before.
    embedded: items embedded by this run; an interrupted run may have embedded others of the added and changed items.
    failed: items in OUT/increment/_errors.jsonl. audio_hours: embedded by this run. wall_seconds: time of the whole
    run, with loading the model.
    """

    items: int
    added: int
    changed: int
    removed: int
    embedded: int
    failed: int
    audio_hours: float
    wall_seconds: float


def build(
    paths: str | Path | Sequence[str | Path],
    model: str | Path | Encoder,
    out: str | Path,
    *,
    dtype: str | None = None,
    device: str = "auto",
    storage: str = "float32",
    batch_seconds: float = BATCH_SECONDS,
    workers: int | None = None,
    progress: bool | Console = True,
) -> IndexSummary:
    """Build an index of `paths` in the folder `out`, or update it. The result has exactly the items of `paths`.

    paths, model, device, batch_seconds, workers, progress: see `zoo.embed.run`.
    dtype: number format of the computation; None: that of the index if there is one, else float32.
    storage: number format of the vectors: "float32", or "float16" for a file of half the size.

    Items with the same path, size and modification time are not embedded again. Items that are no longer in `paths`,
    and items with a deleted file, are removed. Failed items are tried again. The old index stays usable until the end.
    A killed build can be started again and continues after the last finished shard.

    Raises ZooError if there are no inputs, if the index is in use, if another model or storage made it, or if it has
    only other files that still exist; ConfigError for an invalid setting.
    """
    started = time.monotonic()
    console = progress if isinstance(progress, Console) else messages.console(quiet=not progress)
    items = [item._replace(path=os.path.abspath(item.path)) for item in collect(paths)]  # noqa: PTH100 (keeps links)
    out = expand_path(out)
    current = store.read(out)
    if dtype is None:
        dtype = current[0].dtype if current else "float32"
    encoder, dtype, _ = open_encoder(model, device, dtype)
    space = Space.of(encoder, _load_name(model), dtype, storage)
    with lock_folder(out):
        current = store.read(out)
        if current is None:  # an empty index, so that the folder belongs to this model from now on
            store.write(out, space, store.empty(space))
            current = space, store.empty(space)
        _check(out, *current, space, items)
        space = replace(space, model=space.model or current[0].model)
        run_embed = partial(
            embed.run,
            model=encoder,
            batch_seconds=batch_seconds,
            workers=workers,
            progress=console,
            print_summary=False,
        )
        updated, run = _update(out, space, current, items, run_embed)
    summary = _summary(current[1], updated, run, time.monotonic() - started)
    _report(console, out, summary)
    return summary


def _update(
    out: Path,
    space: Space,
    current: tuple[Space, IndexTable],
    items: Sequence[Item],
    run_embed: Callable[..., embed.EmbedSummary],
) -> tuple[IndexTable, embed.EmbedSummary | None]:
    """Write the index of exactly these items. Returns its table, and the summary of embedding or None.

    current: the present content of the index. Its model path may differ from that of `space`, if the model was moved.
    """
    folder = out / increment.FOLDER
    leftover = increment.read_rows(folder, space)
    table = (current[1] + leftover).select(entry for item in items if (entry := _stat_item(item)))
    stored = current[0], current[1].entries
    if leftover.entries:
        store.write(out, space, table)
        stored = space, table.entries
    increment.clear(folder)  # an embedding folder cannot be used for other inputs
    present = {entry.item for entry in table.entries}
    missing = [item for item in items if item not in present]
    run = None
    if missing:
        run = run_embed(missing, out=folder, shard_items=increment.SHARD_ITEMS)
        new = increment.read_rows(folder, space)
        latest = {entry.item: entry for entry in table.entries + new.entries}
        table = (table + new).select(latest[item] for item in items if item in latest)
    if (space, table.entries) != stored:
        store.write(out, space, table)
    increment.clear(folder, keep_errors=True)
    return table, run


def _summary(before: IndexTable, after: IndexTable, run: embed.EmbedSummary | None, seconds: float) -> IndexSummary:
    old, new = ({entry.item: entry for entry in table.entries} for table in (before, after))
    return IndexSummary(
        items=len(new),
        added=len(new.keys() - old.keys()),
        changed=sum(new[item] != old[item] for item in new.keys() & old.keys()),
        removed=len(old.keys() - new.keys()),
        embedded=run.embedded if run else 0,
        failed=run.failed if run else 0,
        audio_hours=run.audio_hours if run else 0.0,
        wall_seconds=seconds,
    )


def _load_name(model: str | Path | Encoder) -> str:
    """The argument with which `zoo.load` finds the model from any working directory; "" for an encoder object."""
    if isinstance(model, Encoder):
        return ""
    path = expand_path(model)
    return str(model) if registry.is_registered(str(model)) or not path.exists() else str(path.resolve())


def _stat_item(item: Item) -> IndexEntry | None:
    """The item with the present size and time of its file; None if the file is missing."""
    try:
        return IndexEntry(item.path, item.start, item.end, *file_stamp(item.path))
    except OSError:
        return None


def _check(out: Path, old: Space, table: IndexTable, new: Space, items: Sequence[Item]) -> None:
    """Compare a request with the existing index. Raises ZooError."""
    if (old.fingerprint, old.preprocessing) != (new.fingerprint, new.preprocessing):
        raise ZooError(
            f"{out} was made with {old.name} ({old.dtype}, fingerprint {old.fingerprint}), not with {new.name} "
            f"({new.dtype}, {new.fingerprint}). Use the same model and dtype, or another folder"
        )
    if old.storage != new.storage:
        raise ZooError(f"{out} stores {old.storage}, not {new.storage}. Use {old.storage}, or another folder")
    indexed = {entry.item for entry in table.entries}
    if indexed.isdisjoint(items) and (present := next((i.path for i in indexed if Path(i.path).exists()), None)):
        raise ZooError(
            f"{out} is an index of other files ({present}, ...), and none of them is among the inputs, so all would be "
            "removed. Add them to the inputs, or use another folder"
        )


def _report(console: Console, out: Path, summary: IndexSummary) -> None:
    parts = [f"{n} {what}" for what in ("added", "changed", "removed", "failed") if (n := getattr(summary, what))]
    line = f"{out}: {summary.items} items in the index; {', '.join(parts) or 'no changes'}"
    if summary.embedded:
        line += f"; {summary.audio_hours:.2f} h of audio in {clock(summary.wall_seconds)}"
    if summary.failed:
        line += f" (the reasons are in {out / increment.FOLDER / ERRORS_NAME})"
    print_plain(console, line)
