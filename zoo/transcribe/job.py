"""One transcription job, from paths to files.

collect -> TranscribeTask -> Job -> OUT/talk.json, OUT/talk.srt, OUT/_errors.jsonl; then OUT/_transcripts.jsonl
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from zoo.encoder import Encoder
from zoo.io import messages
from zoo.io.terminal import print_plain
from zoo.io.text import clock, one_line
from zoo.jobs.decode import count_threads
from zoo.jobs.failures import ERRORS_NAME
from zoo.jobs.inputs import collect
from zoo.jobs.job import Job
from zoo.jobs.lists import Item
from zoo.jobs.on_ray import choose_engine
from zoo.jobs.shards import append_errors, read_errors
from zoo.jobs.workers import parse_worker
from zoo.loading import open_encoder
from zoo.nn.precision import in_words
from zoo.text.formats import SubtitleStyle, parse_formats
from zoo.transcribe.disk import writing
from zoo.transcribe.settings import check_options, complete_options, describe, note_on_words, settings_of
from zoo.transcribe.task import TranscribeTask, load_task


@dataclass(frozen=True)
class TranscribeSummary:
    """Counts of recordings: written + rendered + skipped + failed = all.

    written: transcribed; rendered: transcribed by earlier runs, with formats written now from their JSON; skipped:
    everything was there, or other workers wrote it. without_speech: of the written ones, those with an empty
    transcript. audio_hours: of the written recordings; wall_seconds: of the whole run, loading of the model included.
    """

    written: int
    rendered: int
    skipped: int
    failed: int
    without_speech: int
    audio_hours: float
    wall_seconds: float


def run(
    paths: str | Path | Sequence[str | Path | Item],
    model: str | Path | Encoder,
    out: str | Path,
    *,
    formats: str = "txt",
    highlight_words: bool = False,
    max_words_per_line: int | None = None,
    dtype: str = "float32",
    device: str = "auto",
    workers: int | None = None,
    worker: str | None = None,
    engine: str = "local",
    address: str | None = None,
    progress: bool | Console = True,
    **options: Any,
) -> TranscribeSummary:
    """Transcribe any number of recordings into files of a folder.

    paths: files, folders, globs and lists, or items (`zoo.jobs.inputs.collect`).
    model: a source for `zoo.load`, or a loaded model that transcribes; its device and dtype do not change.
    formats: names of `FORMATS`, separated by commas, or "all". JSON is always written too.
    highlight_words, max_words_per_line: words in subtitles, see `SubtitleStyle`; they turn word timestamps on.
    worker: "I/N" or "auto" if other processes do the same run at the same time (see `zoo.embed.run`).
    engine: "ray" computes in actors of Ray (`zoo.jobs.on_ray`); address: of a running cluster.
    options: of the model's `transcribe`.

    A second run with the same settings transcribes missing and changed recordings only. Other formats and styles of
    subtitles are written from the JSON, without transcribing again. Recordings keep the names of their files, even if
    other recordings are added. OUT/_errors.jsonl lists recordings that cannot be read, with the reason;
    they do not stop the others.

    Raises ConfigError for an option that the model does not support, before anything is written; ZooError if there are
    no recordings, if the folder was made with other settings, if a file would replace the transcript of
    another recording or a file that is not from `zoo transcribe`, or if the disk is full.
    """
    began = time.monotonic()
    console = progress if isinstance(progress, Console) else messages.console(quiet=not progress)
    share, threads = parse_worker(worker), count_threads(workers)
    names, style = parse_formats(formats), SubtitleStyle(highlight_words, max_words_per_line)
    options = complete_options(options, names, style)
    items, out = collect(paths), Path(out)
    transcriber, dtype_name, reason = open_encoder(model, device, dtype)
    check_options(transcriber, options)
    print_plain(console, f"{describe(transcriber, model)} on {in_words(transcriber.device, dtype_name, reason)}")
    note = note_on_words(options, names, style)
    if note:
        print_plain(console, note)
    settings = settings_of(transcriber, dtype_name, options)
    plain: dict[str, Any] = {"settings": settings, "options": options, "formats": names, "style": style}
    task = TranscribeTask(transcriber, out, **plain)
    make_task = partial(load_task, device=device, dtype=dtype_name, out=out, **plain)
    run_shards = choose_engine(engine, address, model, make_task)
    with writing(out):
        Job(
            task.folder, task, items, threads=threads, console=console, worker=share, title=out, engine=run_shards
        ).run()
        with suppress(OSError):  # another worker has not yet seen that the job is finished
            task.folder.rmdir()
        append_errors(out, task.unwritten)
    failures = read_errors(out)
    summary = _summarize(task, len(items), len(failures), time.monotonic() - began)
    _report(console, out, summary, task, failures)
    return summary


def _summarize(task: TranscribeTask, items: int, failed: int, wall_seconds: float) -> TranscribeSummary:
    written = task.written.values()
    rendered = len(task.rendered)
    return TranscribeSummary(
        written=len(written),
        rendered=rendered,
        skipped=items - len(written) - rendered - failed,
        failed=failed,
        without_speech=sum(not has_text for _, _, has_text in written),
        audio_hours=sum(seconds for _, seconds, _ in written) / 3600,
        wall_seconds=wall_seconds,
    )


def _report(
    console: Console,
    out: Path,
    summary: TranscribeSummary,
    task: TranscribeTask,
    failures: Sequence[tuple[str, str]],
) -> None:
    before = f"; {summary.skipped} were already there" if summary.skipped else ""
    if summary.rendered:
        rendered = f"formats of {summary.rendered} recordings made from their JSON, without transcribing again"
        before = f"; {rendered}{before}"
    if summary.written:
        speed = 3600 * summary.audio_hours / max(summary.wall_seconds, 1e-9)
        print_plain(
            console,
            f"{out}: {summary.written} recordings, {summary.audio_hours:.2f} h in {clock(summary.wall_seconds)}, "
            f"{speed:.1f}x real time with loading{before}",
        )
    else:
        print_plain(console, f"{out}: nothing written{before}")
    silent = [path for path, _, has_text in task.written.values() if not has_text]
    if silent:
        named = ", ".join(one_line(path) for path in silent[:3])
        more = ", ..." if len(silent) > 3 else ""
        print_plain(console, f"no speech found in {len(silent)} recordings: {named}{more}")
    for path, reason in failures[:10]:
        print_plain(console, one_line(f"failed: {path}: {reason}"))
    if failures:
        print_plain(console, f"{len(failures)} failed; all reasons are in {out / ERRORS_NAME}")
