"""One embedding run from start to end.

collect --> settings --> EmbedTask --> Job --> part-00000.parquet, _errors.jsonl
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from zoo.defaults import BATCH_SECONDS, SHARD_ITEMS
from zoo.embed.columns import column_types, parse_names
from zoo.embed.settings import EmbedSettings
from zoo.embed.task import EmbedTask, load_task
from zoo.encoder import Encoder, Layer
from zoo.io import messages
from zoo.io.terminal import print_plain
from zoo.io.text import clock
from zoo.jobs.decode import count_threads
from zoo.jobs.failures import ERRORS_NAME, raise_for_failures
from zoo.jobs.inputs import collect
from zoo.jobs.job import Job
from zoo.jobs.lists import Item
from zoo.jobs.on_ray import choose_engine
from zoo.jobs.workers import parse_worker
from zoo.loading import open_encoder
from zoo.nn.precision import in_words


@dataclass(frozen=True)
class EmbedSummary:
    """The result of a run. embedded + skipped + failed = the number of items.

    embedded: items embedded by this run. skipped: items embedded by earlier runs and by other workers.
    failed: all items in _errors.jsonl.
    audio_hours: embedded by this run. real_time_factor: seconds of audio per second of embedding (0 if none).
    wall_seconds: time of the whole run, with loading the model.
    """

    embedded: int
    skipped: int
    failed: int
    audio_hours: float
    real_time_factor: float
    wall_seconds: float


def run(
    paths: str | Path | Sequence[str | Path | Item],
    model: str | Path | Encoder,
    out: str | Path,
    *,
    layer: Layer = -1,
    pooling: str | None = "mean",
    dtype: str = "float32",
    device: str = "auto",
    storage: str = "float32",
    batch_seconds: float = BATCH_SECONDS,
    shard_items: int = SHARD_ITEMS,
    workers: int | None = None,
    keep_columns: str | Sequence[str] = (),
    prune: bool = False,
    worker: str | None = None,
    engine: str = "local",
    address: str | None = None,
    fail_on_error: bool = False,
    progress: bool | Console = True,
    print_summary: bool = True,
) -> EmbedSummary:
    """Embed any amount of audio into a folder of Parquet files; `zoo.embed.writer` documents their columns.

    paths: files, folders, globs and lists, or items (`zoo.jobs.inputs.collect`).
    model: anything that `zoo.load` takes, or an encoder. An encoder keeps its device and dtype.
    layer: number, list of numbers, "all", or text such as "-1" or "0,6,12".
    pooling: "mean", "max", "first" or "stats"; None gives frames.
    storage: "float32", or "float16" for files of half the size.
    batch_seconds: padded audio in one batch. shard_items: maximum number of items in one file. A run can only be
        resumed with the same values, because they affect the last bit of the numbers.
    workers: decoding threads; by default one for each core, at most eight.
    keep_columns: columns of the lists, such as "label" or "label,fold", that the files get too.
    prune: remove the rows of items that are no longer in `paths`, and compute their shards again without them.
    worker: "I/N" or "auto" (`zoo.jobs.workers.parse_worker`) if other processes do the same run at the same time, also
        on other machines. Every process returns when the whole folder is finished.
    engine: "ray" computes in actors of Ray (`zoo.jobs.on_ray`); address: of a running cluster.
    progress: whether to show progress on stderr, or the console to show it on.
    print_summary: whether to end with a line of counts.

    A killed run can be started again: finished shards are kept, the others are computed. The files are then
    byte-identical to those of an uninterrupted run. On a finished folder, a run only compares the sizes and
    modification times of the inputs, and computes the shards with a changed file again. New items go into new shards
    at the end; existing shards keep their order and bytes. _errors.jsonl lists the items that failed, with the reason.
    Each run tries them again; a shard with one that works now is computed again.

    Raises ZooError if there are no inputs, or if the folder was started with another model, other settings, or
    (without `prune`) items that `paths` no longer includes. With fail_on_error, raises ZooError at the end of a run
    with failures. Raises ConfigError for an invalid setting.
    """
    started = time.monotonic()
    console = progress if isinstance(progress, Console) else messages.console(quiet=not progress)
    share = parse_worker(worker)
    threads = count_threads(workers)
    names, out = parse_names(keep_columns), Path(out)
    items = collect(paths, names)
    encoder, dtype, why = open_encoder(model, device, dtype)
    settings = EmbedSettings.of(
        encoder,
        layer=layer,
        pooling=pooling,
        dtype=dtype,
        storage=storage,
        batch_seconds=batch_seconds,
        shard_items=shard_items,
        columns=column_types(names, items),
    )
    print_plain(console, f"{settings.model} on {in_words(settings.device, dtype, why)}")
    task = EmbedTask(encoder, settings, out)
    make_task = partial(load_task, device=device, dtype=dtype, settings=settings, out=out)
    run_shards = choose_engine(engine, address, model, make_task)
    job = Job(out, task, items, threads=threads, console=console, worker=share, prune=prune, engine=run_shards)
    result = job.run()
    embedded = result.count_computed()
    summary = EmbedSummary(
        embedded=embedded,
        skipped=len(items) - embedded - len(result.failures),
        failed=len(result.failures),
        audio_hours=result.meter.embedded / 3600,
        real_time_factor=result.meter.real_time_factor,
        wall_seconds=time.monotonic() - started,
    )
    if print_summary:
        _report(console, out, summary)
    if fail_on_error:
        raise_for_failures(summary.embedded + summary.skipped, summary.failed, out / ERRORS_NAME, fail_on_error)
    return summary


def _report(console: Console, out: Path, summary: EmbedSummary) -> None:
    if summary.embedded:
        before = f"; {summary.skipped} were embedded before" if summary.skipped else ""
        print_plain(
            console,
            f"{out}: {summary.embedded} items embedded, {summary.audio_hours:.2f} h of audio in "
            f"{clock(summary.wall_seconds)}, {summary.real_time_factor:.1f}x real time{before}",
        )
    elif summary.skipped:
        print_plain(console, f"{out}: nothing new, {summary.skipped} items were embedded before")
    else:
        print_plain(console, f"{out}: no item could be embedded")
    if summary.failed:
        print_plain(
            console, f"{summary.failed} failed; the reasons are in {out / ERRORS_NAME}; the next run tries again"
        )
