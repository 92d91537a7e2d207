"""`zoo units`: the hidden units of any number of files, one JSON object a line, in the order of the inputs.

Items that later runs add come at the end.

    {"path": "a.flac", "quantizer": "5a0c...", "units": [17, 17, 4, ...], "rate": 50.0, "dtype": "float32",
     "file": [46080, 1714000000000000000]}

start, end: only if a list gives a span of the file. counts: with dedup, the number of frames of each unit. error:
instead of units, if the file cannot be read. With several codebooks, units has a list for each frame. dtype: number
format of the computation. file: size in bytes and modification time in ns; null if the file was missing. From dtype and
file, a later run decides which lines it can keep.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from zoo.encoder import Encoder
from zoo.io import messages
from zoo.jobs.decode import count_threads
from zoo.jobs.inputs import collect
from zoo.jobs.job import Job
from zoo.jobs.lists import Item
from zoo.jobs.on_ray import choose_engine
from zoo.jobs.plan import hidden_folder
from zoo.jobs.workers import parse_worker
from zoo.units.task import load_task


class UnitsSummary(NamedTuple):
    """The number of items in `out` with units (succeeded) and with an error (failed)."""

    succeeded: int
    failed: int


def write_units(
    paths: str | Path | Sequence[str | Path | Item],
    model: str | Path | Encoder,
    out: str | Path,
    *,
    dedup: bool = False,
    dtype: str = "float32",
    device: str = "auto",
    workers: int | None = None,
    prune: bool = False,
    worker: str | None = None,
    engine: str = "local",
    address: str | None = None,
    progress: bool | Console = True,
) -> UnitsSummary:
    """Write the units of files, folders, globs and lists to `out`.

    model: anything that `zoo.load` takes, or an encoder. The model needs a quantizer.
    dedup: write each run of equal units once, with its length in `counts`.
    prune: remove the lines of items that are no longer in `paths`.
    worker: "I/N" or "auto" if other processes do the same run at the same time (see `zoo.embed.run`).
    engine: "ray" computes in actors of Ray (`zoo.jobs.on_ray`); address: of a running cluster.

    `out` is written at the end of the run. If a run is killed, call it again: it continues, and the file is
    byte-identical to that of an uninterrupted run. If `out` exists, only new files, files with another size or
    modification time, and failed items are encoded. Units of deleted files are kept. New items come at the end.
    If `out` is a link, the file that it points to is written, and the link stays.
    Raises ConfigError for a model without a quantizer; ZooError if `out`, or an unfinished run for it, has (without
    `prune`) items that are not in `paths`, another quantizer, another dtype or another dedup.
    """
    console = progress if isinstance(progress, Console) else messages.console(quiet=not progress)
    share, threads = parse_worker(worker), count_threads(workers)
    items, target = collect(paths), Path(out).expanduser().resolve()
    task = load_task(model, device, dtype, dedup=dedup, items=items, target=target, prune=prune)
    make_task = partial(load_task, device=device, dtype=dtype, dedup=dedup, items=(), target=target, prune=prune)
    run_shards = choose_engine(engine, address, model, make_task)
    folder = hidden_folder(target)
    if prune or folder.exists() or not task.is_finished():
        options: dict[str, Any] = {"worker": share, "prune": prune, "title": target, "engine": run_shards}
        Job(folder, task, items, threads=threads, console=console, **options).run()
        with suppress(OSError):  # another worker has not yet seen that the job is finished
            folder.rmdir()
    return _count(target)


def _count(target: Path) -> UnitsSummary:
    failed = total = 0
    with target.open("rb") as file:
        for line in file:
            total += 1
            failed += "error" in json.loads(line)
    return UnitsSummary(total - failed, failed)
