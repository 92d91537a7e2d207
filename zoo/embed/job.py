"""One embedding run from start to end.

collect --> prepare --> ahead ==threads==> Embedder --> ShardWriter --> part-00000.parquet
inputs      _plan.jsonl                                 failures -----> _errors.jsonl
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path

from rich.console import Console

from zoo.defaults import BATCH_SECONDS, SHARD_ITEMS
from zoo.embed.columns import column_types, parse_names
from zoo.embed.compute import DecodedClip, Embedder
from zoo.embed.plan import Plan, Shard
from zoo.embed.prepare import prepare
from zoo.embed.retry import improvable_shards, loses_items
from zoo.embed.settings import EmbedSettings
from zoo.embed.writer import EmbeddingRow, Failure, ShardWriter, shard_failures, write_errors
from zoo.encoder import Encoder, Layer
from zoo.errors import ConfigError
from zoo.io import messages
from zoo.io.locks import lock_folder
from zoo.io.terminal import print_plain
from zoo.io.text import clock
from zoo.jobs import decode
from zoo.jobs.failures import ERRORS_NAME, raise_for_failures
from zoo.jobs.inputs import collect
from zoo.jobs.lists import Item
from zoo.jobs.progress import ProgressMeter
from zoo.loading import open_encoder
from zoo.nn.precision import in_words

# Audio decoded ahead of the encoder, in batches. With a few batches, one slow file does not stop the encoder.
LOOK_AHEAD_BATCHES = 4


@dataclass(frozen=True)
class EmbedSummary:
    """The result of a run. embedded + skipped + failed = the number of items.

    embedded: items embedded by this run. skipped: items embedded by earlier runs. failed: all items in _errors.jsonl.
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
    progress: whether to show progress on stderr, or the console to show it on.
    print_summary: whether to end with a line of counts.

    A killed run can be started again: finished shards are kept, the others are computed. The files are then
    byte-identical to those of an uninterrupted run. On a finished folder, a run only compares the sizes and
    modification times of the inputs, and computes the shards with a changed file again. New items go into new shards
    at the end; existing shards keep their order and bytes. _errors.jsonl lists the items that failed, with the reason.
    Each run tries them again; a shard with one that works now is computed again.

    Raises ZooError if there are no inputs, if the folder is in use, or if it was started with another model, other
    settings, or (without `prune`) items that `paths` no longer includes. With fail_on_error, raises ZooError at the
    end of a run with failures. Raises ConfigError for an invalid setting.
    """
    started = time.monotonic()
    console = progress if isinstance(progress, Console) else messages.console(quiet=not progress)
    workers = _check_workers(workers)
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
    _print_line(console, f"{settings.model} on {in_words(settings.device, dtype, why)}")
    with lock_folder(out):
        plan = prepare(out, items, settings, workers, console, prune)
        meter, failures, skipped = _compute_missing(out, plan, encoder, workers, console)
    summary = EmbedSummary(
        embedded=len(items) - skipped - len(failures),
        skipped=skipped,
        failed=len(failures),
        audio_hours=meter.embedded / 3600,
        real_time_factor=meter.real_time_factor,
        wall_seconds=time.monotonic() - started,
    )
    if print_summary:
        _report(console, out, summary)
    if fail_on_error:
        raise_for_failures(summary.embedded + skipped, summary.failed, out / ERRORS_NAME, fail_on_error)
    return summary


def _check_workers(workers: int | None) -> int:
    """The number of decoding threads. Raises ConfigError for a number below 1."""
    if workers is None:
        return min(8, os.cpu_count() or 1)
    if workers < 1:
        raise ConfigError(f"workers {workers}: must be at least 1")
    return workers


def _compute_missing(
    out: Path, plan: Plan, encoder: Encoder, workers: int, console: Console
) -> tuple[ProgressMeter, list[Failure], int]:
    """Compute the shards that are missing, out of date or improvable, and update _errors.jsonl.

    Returns the meter, all failures, and the number of items that earlier runs embedded.
    """
    shards = plan.shards()
    stored = {shard: failures for shard in shards if (failures := shard_failures(out, shard)) is not None}
    improvable = improvable_shards(plan, stored, encoder, workers)
    to_compute = [shard for shard in shards if shard not in stored or shard in improvable]
    failures_of = {shard: failures for shard, failures in stored.items() if shard not in improvable}
    skipped = sum(len(plan.present(shard)) - len(failures) for shard, failures in failures_of.items())
    total = sum(plan.items[index].seconds for shard in shards for index in plan.present(shard))
    left = sum(plan.items[index].seconds for shard in to_compute for index in plan.present(shard))
    failed = sum(map(len, failures_of.values()))
    with ProgressMeter(console, total=total, before=total - left, failed=failed) as meter:
        for shard, writer in _extract(out, plan, to_compute, encoder, workers, meter):
            if loses_items(stored.get(shard), writer.failures):
                failures_of[shard] = stored[shard]
                skipped += len(plan.present(shard)) - len(stored[shard])
            else:
                writer.commit()
                failures_of[shard] = writer.failures
            if failures_of[shard]:
                write_errors(out, plan, list(chain.from_iterable(failures_of.values())))
    failures = list(chain.from_iterable(failures_of.values()))
    write_errors(out, plan, failures)
    names = {shard.name for shard in shards}
    for path in out.glob("part-*.parquet"):
        if path.name not in names:  # with changed files there can be fewer shards
            path.unlink()
    return meter, failures, skipped


def _extract(
    out: Path, plan: Plan, shards: Sequence[Shard], encoder: Encoder, workers: int, meter: ProgressMeter
) -> Iterator[tuple[Shard, ShardWriter]]:
    """Compute one shard after the other; yield each shard with its writer, ready to commit.

    Decoding runs ahead across batches and shards, so the encoder waits for the first file only.
    """
    embedder = Embedder(encoder, plan.settings)
    items = (plan.items[index] for shard in shards for batch in plan.batches(shard) for index in batch)
    read = partial(decode.read, sample_rate=encoder.sample_rate, min_samples=encoder.min_samples)
    seconds = LOOK_AHEAD_BATCHES * plan.settings.batch_seconds
    with closing(decode.ahead(items, read, workers=workers, look_ahead_seconds=seconds)) as clips:
        for shard in shards:
            with closing(ShardWriter(out, plan, shard)) as writer:
                for outcome in _outcomes(plan, shard, clips, embedder):
                    writer.add(outcome)
                    if isinstance(outcome, EmbeddingRow):
                        meter.advance(outcome.duration)
                    else:
                        meter.fail(plan.items[outcome.item_index].seconds)
                yield shard, writer


def _outcomes(
    plan: Plan, shard: Shard, clips: Iterator[decode.Outcome], embedder: Embedder
) -> Iterator[EmbeddingRow | Failure]:
    """Rows and failures of all items of a shard. clips: the decoded items of its batches, in order."""
    for index in plan.present(shard):
        if (reason := plan.items[index].reason) is not None:
            yield Failure(index, reason)
    for indices in plan.batches(shard):
        batch: list[DecodedClip] = []
        for index, (item, clip) in zip(indices, islice(clips, len(indices)), strict=True):
            if isinstance(clip, str):
                yield Failure(index, clip)
            else:
                batch.append(DecodedClip(index, item.start or 0.0, clip))
            del clip  # a long one is a temporary file; free it before the next batch is decoded
        yield from embedder(batch)


def _report(console: Console, out: Path, summary: EmbedSummary) -> None:
    if summary.embedded:
        before = f"; {summary.skipped} were embedded before" if summary.skipped else ""
        _print_line(
            console,
            f"{out}: {summary.embedded} items embedded, {summary.audio_hours:.2f} h of audio in "
            f"{clock(summary.wall_seconds)}, {summary.real_time_factor:.1f}x real time{before}",
        )
    elif summary.skipped:
        _print_line(console, f"{out}: nothing new, {summary.skipped} items were embedded before")
    else:
        _print_line(console, f"{out}: no item could be embedded")
    if summary.failed:
        _print_line(
            console, f"{summary.failed} failed; the reasons are in {out / ERRORS_NAME}; the next run tries again"
        )


def _print_line(console: Console, line: str) -> None:
    """Print without markup, because file names may look like Rich markup."""
    print_plain(console, line)
