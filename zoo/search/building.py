"""Bringing an index in line with files: only what is new or changed is embedded.

before  index.safetensors (rows of an earlier build) + increment/ (finished shards of a killed one)
now     the rows of both whose files are as they were + the rest, embedded into increment/
after   index.safetensors, replaced whole; increment/ is removed
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
from zoo.io.locks import lock_folder
from zoo.io.paths import expand_path
from zoo.jobs.failures import ERRORS_NAME
from zoo.jobs.inputs import collect
from zoo.jobs.lists import Item
from zoo.loading import open_encoder
from zoo.search import increment, store
from zoo.search.store import IndexEntry, Space, Table


@dataclass(frozen=True)
class IndexSummary:
    """What a build did.

    items: all that can be found now. Compared with the index before: added, changed, removed.
    embedded: by this run, the others of these by one that was interrupted; failed: see OUT/increment/errors.jsonl.
    audio_hours: embedded by this run; wall_seconds: of the whole run, loading the model included.
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
    dtype: str = "auto",
    device: str = "auto",
    storage: str = "float32",
    batch_seconds: float = BATCH_SECONDS,
    workers: int | None = None,
    progress: bool | Console = True,
) -> IndexSummary:
    """Make the folder `out` an index of what `paths` name, or bring it up to date: in the end it is of just that.

    paths, model, device, batch_seconds, workers, progress: as for `zoo.embed.run`.
    dtype: number format to compute in; "auto" is that of the index where there is one.
    storage: of the vectors, "float32", or "float16", which halves the file.

    Items with the same path, size and time as before are not embedded again; those that are no longer named, or whose
    file is gone, are dropped; those that failed are tried again. Until the end the index answers as before. Killed at
    any moment and run again, it goes on from the last finished shard.

    Raises ZooError where nothing is found, where the index is in use, or was made by another model or with another
    storage, or holds none of the items named but files that still exist; ConfigError for an impossible setting.
    """
    began = time.monotonic()
    console = progress if isinstance(progress, Console) else Console(stderr=True, quiet=not progress)
    items = [item._replace(path=os.path.abspath(item.path)) for item in collect(paths)]  # noqa: PTH100 (keeps links)
    out = expand_path(out)
    known = store.read(out)
    encoder, numbers, _ = open_encoder(model, device, known[0].dtype if known and dtype == "auto" else dtype)
    space = Space.of(encoder, _load_name(model), numbers, storage)
    with lock_folder(out):
        known = store.read(out)
        if known is None:  # from the start, the folder belongs to this model
            store.write(out, space, store.empty(space))
            known = space, store.empty(space)
        _check(out, *known, space, items)
        space = replace(space, model=space.model or known[0].model)
        run_embed = partial(embed.run, model=encoder, batch_seconds=batch_seconds, workers=workers, progress=console)
        after, run = _update(out, space, known, items, run_embed)
    summary = _summary(known[1], after, run, time.monotonic() - began)
    _report(console, out, summary)
    return summary


def _update(
    out: Path,
    space: Space,
    known: tuple[Space, Table],
    items: Sequence[Item],
    run_embed: Callable[..., embed.EmbedSummary],
) -> tuple[Table, embed.EmbedSummary | None]:
    """The table of exactly these items, written to the index; and what had to be extracted for it, if anything.

    known: what the index holds now; its model may lie in another place since.
    """
    folder = out / increment.FOLDER
    left = increment.read_rows(folder, space)
    table = (known[1] + left).keep(entry for item in items if (entry := _stat_item(item)))
    written = known[0], known[1].entries
    if left.entries:
        store.write(out, space, table)
        written = space, table.entries
    increment.clear(folder)  # the folder of an extraction takes no other inputs
    present = {entry.item for entry in table.entries}
    missing = [item for item in items if item not in present]
    run = None
    if missing:
        run = run_embed(missing, out=folder, shard_items=increment.SHARD_ITEMS)
        fresh = increment.read_rows(folder, space)
        latest = {entry.item: entry for entry in table.entries + fresh.entries}
        table = (table + fresh).keep(latest[item] for item in items if item in latest)
    if (space, table.entries) != written:
        store.write(out, space, table)
    increment.clear(folder, keep_errors=True)
    return table, run


def _summary(before: Table, after: Table, run: embed.EmbedSummary | None, seconds: float) -> IndexSummary:
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
    """What `zoo.load` finds the model by from any working directory."""
    if isinstance(model, Encoder):
        return ""
    path = expand_path(model)
    return str(model) if registry.is_registered(str(model)) or not path.exists() else str(path.resolve())


def _stat_item(item: Item) -> IndexEntry | None:
    """The item as its file is now; None where it is gone."""
    try:
        status = os.stat(item.path)  # noqa: PTH116 (a million of these: no Path objects)
    except OSError:
        return None
    return IndexEntry(*item, status.st_size, status.st_mtime_ns)


def _check(out: Path, old: Space, table: Table, new: Space, items: Sequence[Item]) -> None:
    """Hold a request against the index that is there. Raises ZooError."""
    if (old.fingerprint, old.preprocessing) != (new.fingerprint, new.preprocessing):
        raise ZooError(
            f"{out} is an index by {old.name} ({old.dtype}, fingerprint {old.fingerprint}), and this is {new.name} "
            f"({new.dtype}, {new.fingerprint}). Use the same model and dtype, or another folder"
        )
    if old.storage != new.storage:
        raise ZooError(f"{out} stores {old.storage}, not {new.storage}. Repeat the former, or use another folder")
    held = {entry.item for entry in table.entries}
    if held.isdisjoint(items) and (present := next((i.path for i in held if Path(i.path).exists()), None)):
        raise ZooError(
            f"{out} is an index of other files ({present}, ...), none of which is named now: all would be dropped. "
            "Name them too, or use another folder"
        )


def _report(console: Console, out: Path, summary: IndexSummary) -> None:
    parts = [f"{n} {what}" for what in ("added", "changed", "removed", "failed") if (n := getattr(summary, what))]
    line = f"{out}: {summary.items} items to search; {', '.join(parts) or 'nothing has changed'}"
    if summary.failed:
        line += f" (the reasons are in {out / increment.FOLDER / ERRORS_NAME})"
    console.print(line, markup=False, highlight=False, soft_wrap=True)
