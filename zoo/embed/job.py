"""One extraction from end to end.

collect --> prepare --> ahead ==threads==> Embedder --> ShardWriter --> part-00000.parquet
inputs      _plan.jsonl                                 failures -----> errors.jsonl
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from rich.console import Console

from zoo.defaults import BATCH_SECONDS, SHARD_ITEMS
from zoo.embed.compute import DecodedClip, Embedder
from zoo.embed.plan import Plan, Shard
from zoo.embed.prepare import prepare
from zoo.embed.settings import EmbedSettings
from zoo.embed.writer import EmbeddingRow, Failure, ShardWriter, finished, write_errors
from zoo.encoder import Encoder, Layer
from zoo.errors import ConfigError
from zoo.io.locks import lock_folder
from zoo.io.text import clock
from zoo.jobs import decode
from zoo.jobs.failures import ERRORS_NAME, raise_for_failures
from zoo.jobs.inputs import collect
from zoo.jobs.lists import Item
from zoo.jobs.progress import ProgressMeter
from zoo.loading import open_encoder

# Decoded audio that waits for the encoder, in batches: enough to ride out a slow file.
LOOK_AHEAD_BATCHES = 4


@dataclass(frozen=True)
class EmbedSummary:
    """What a run did. embedded + skipped + failed = the number of items.

    embedded: items embedded by this run; skipped: those that earlier runs had embedded; failed: all in errors.jsonl.
    audio_hours: embedded by this run; real_time_factor: seconds of audio per second of embedding (0 if there was none);
    wall_seconds: of the whole run, loading the model included.
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
    dtype: str = "auto",
    device: str = "auto",
    storage: str = "float32",
    batch_seconds: float = BATCH_SECONDS,
    shard_items: int = SHARD_ITEMS,
    workers: int | None = None,
    fail_on_error: bool = False,
    progress: bool | Console = True,
) -> EmbedSummary:
    """Embed any amount of audio into a folder of Parquet files; `zoo.embed.writer` documents their columns.

    paths: files, folders, globs and lists, or items (`zoo.jobs.inputs.collect`).
    model: what `zoo.load` takes, or an encoder, which is used as and where it is: dtype and device are then its own.
    layer: number, list of numbers, "all", or text such as "-1" or "0,6,12".
    pooling: "mean", "max", "first" or "stats"; None gives frames.
    storage: "float32", or "float16", which halves the files.
    batch_seconds: padded audio in one batch; shard_items: most items in one file. Both belong to the settings that a
        run can only be resumed with, since they decide the last bit of the numbers.
    workers: decoding threads; by default one for each core, at most eight.
    progress: whether to show it on stderr, or the console to show it on.

    Killed at any moment and run again, it leaves the very bytes that an uninterrupted run leaves: finished shards are
    kept, the others computed. Run again when all is done, it only looks at the sizes and times of the inputs; shards
    with a file that changed are computed anew. Items that came along since go to shards of their own, behind the
    others, whose order and bytes stay. Items that cannot be embedded are in errors.jsonl with the reason.

    Raises ZooError where nothing is found, where the folder is in use, was begun with another model or other settings
    or holds items that are not named now, and, with fail_on_error, at the end of a run with failures; ConfigError for
    an impossible setting.
    """
    began = time.monotonic()
    console = progress if isinstance(progress, Console) else Console(stderr=True, quiet=not progress)
    workers = min(8, os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise ConfigError(f"workers {workers}: at least 1 is needed")
    items, out = collect(paths), Path(out)
    encoder, numbers, why = open_encoder(model, device, dtype)
    settings = EmbedSettings.of(
        encoder,
        layer=layer,
        pooling=pooling,
        dtype=numbers,
        storage=storage,
        batch_seconds=batch_seconds,
        shard_items=shard_items,
    )
    _say(console, f"{settings.model} on {settings.device}, {numbers}: {why}")
    with lock_folder(out):
        plan = prepare(out, items, settings, workers, console)
        meter, failures, skipped = _complete(out, plan, encoder, workers, console)
    summary = EmbedSummary(
        embedded=len(items) - skipped - len(failures),
        skipped=skipped,
        failed=len(failures),
        audio_hours=meter.embedded / 3600,
        real_time_factor=meter.real_time_factor,
        wall_seconds=time.monotonic() - began,
    )
    _report(console, out, summary)
    if fail_on_error:
        raise_for_failures(summary.embedded + skipped, summary.failed, out / ERRORS_NAME, fail_on_error)
    return summary


def _complete(
    out: Path, plan: Plan, encoder: Encoder, workers: int, console: Console
) -> tuple[ProgressMeter, list[Failure], int]:
    """Compute the shards that are missing or out of date, and bring the rest of the folder in line with the plan.

    Returns the meter, all failures, and the number of items that earlier runs embedded.
    """
    shards = plan.shards()
    missing: list[Shard] = []
    failures: list[Failure] = []
    skipped = 0
    for shard in shards:
        before = finished(out, shard)
        if before is None:
            missing.append(shard)
        else:
            failures += before
            skipped += shard.stop - shard.start - len(before)
    total = sum(item.seconds for item in plan.items)
    left = sum(item.seconds for shard in missing for item in plan.items[shard.start : shard.stop])
    with ProgressMeter(console, total=total, before=total - left, failed=len(failures)) as meter:
        for late in _extract(out, plan, missing, encoder, workers, meter):
            if late:
                failures += late
                write_errors(out, plan, failures)
    write_errors(out, plan, failures)
    names = {shard.name for shard in shards}
    for path in out.glob("part-*.parquet"):
        if path.name not in names:  # a changed file made the shards fewer
            path.unlink()
    return meter, failures, skipped


def _extract(
    out: Path, plan: Plan, shards: Sequence[Shard], encoder: Encoder, workers: int, meter: ProgressMeter
) -> Iterator[list[Failure]]:
    """Compute and write shards, one after the other; yields the failures of each once its file is in place.

    Decoding runs ahead across batches and shards alike, so the encoder waits for no file but the first.
    """
    embedder = Embedder(encoder, plan.settings)
    coming = (plan.items[number] for shard in shards for batch in plan.batches(shard) for number in batch)
    read = partial(decode.read, sample_rate=encoder.sample_rate, min_samples=encoder.min_samples)
    seconds = LOOK_AHEAD_BATCHES * plan.settings.batch_seconds
    with closing(decode.ahead(coming, read, workers=workers, look_ahead_seconds=seconds)) as clips:
        for shard in shards:
            with closing(ShardWriter(out, plan, shard)) as writer:
                for outcome in _outcomes(plan, shard, clips, embedder):
                    writer.add(outcome)
                    if isinstance(outcome, EmbeddingRow):
                        meter.advance(outcome.duration)
                    else:
                        meter.fail(plan.items[outcome.number].seconds)
                writer.commit()
            yield writer.failures


def _outcomes(
    plan: Plan, shard: Shard, clips: Iterator[decode.Outcome], embedder: Embedder
) -> Iterator[EmbeddingRow | Failure]:
    """What comes of every item of a shard. clips: the items of its batches, decoded, in their order."""
    for number in range(shard.start, shard.stop):
        if (reason := plan.items[number].reason) is not None:
            yield Failure(number, reason)
    for numbers in plan.batches(shard):
        batch: list[DecodedClip] = []
        for number, (item, clip) in zip(numbers, islice(clips, len(numbers)), strict=True):
            if isinstance(clip, str):
                yield Failure(number, clip)
            else:
                batch.append(DecodedClip(number, item.start or 0.0, clip))
        yield from embedder(batch)


def _report(console: Console, out: Path, summary: EmbedSummary) -> None:
    if summary.embedded:
        before = f"; {summary.skipped} were there already" if summary.skipped else ""
        _say(
            console,
            f"{out}: {summary.embedded} items embedded, {summary.audio_hours:.2f} h of audio in "
            f"{clock(summary.wall_seconds)}, {summary.real_time_factor:.1f}x real time{before}",
        )
    elif summary.skipped:
        _say(console, f"{out}: nothing to do, {summary.skipped} items were embedded before")
    else:
        _say(console, f"{out}: nothing could be embedded")
    if summary.failed:
        _say(console, f"{summary.failed} failed; the reasons are in {out / ERRORS_NAME}")


def _say(console: Console, line: str) -> None:
    """A line as it is: names may hold what Rich takes for markup."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
