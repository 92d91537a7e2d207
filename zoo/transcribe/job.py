"""One job from paths to files.

collect -> survey -> ahead ==threads==> model.transcribe -> FORMATS -> OUT/talk.srt, journal
inputs                                     failures -----------------> OUT/errors.jsonl
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rich.console import Console

from zoo.audio import Clip
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError, ZooError
from zoo.io.atomic import replacing_file
from zoo.io.locks import lock_folder
from zoo.io.text import clock, printable
from zoo.jobs import decode
from zoo.jobs.failures import ERRORS_NAME
from zoo.jobs.inputs import collect
from zoo.jobs.lists import Item
from zoo.jobs.progress import ProgressMeter
from zoo.jobs.survey import survey
from zoo.loading import open_encoder
from zoo.text.transcript import Transcript
from zoo.transcribe.disk import is_everybodys, unwritable
from zoo.transcribe.failures import Failures
from zoo.transcribe.formats import parse_formats, render
from zoo.transcribe.journal import Journal, TranscriptTask
from zoo.transcribe.naming import stems

GROUP_SECONDS = 600.0  # audio that is handed to the model at once, and that a crash can cost; a longer file comes alone
GROUP_FILES = 256


@runtime_checkable
class Transcriber(Protocol):
    """A model that writes down what is said."""

    def transcribe(self, waves: Any, sample_rate: int | None = None, **options: Any) -> Any:
        """A Transcript for each recording of a list. Options are looked at first, recordings after them."""
        ...


@dataclass(frozen=True)
class TranscribeSummary:
    """written + skipped + failed = the number of recordings; skipped: those that earlier runs had written.

    audio_hours: of the written ones; wall_seconds: of the whole run, loading the model included.
    """

    written: int
    skipped: int
    failed: int
    audio_hours: float
    wall_seconds: float


def run(
    paths: str | Path | Sequence[str | Path | Item],
    model: str | Path | Encoder,
    out: str | Path,
    *,
    formats: str = "txt",
    dtype: str = "auto",
    device: str = "auto",
    workers: int | None = None,
    progress: bool | Console = True,
    **options: Any,
) -> TranscribeSummary:
    """Transcribe any number of recordings into files of a folder.

    paths: files, folders, globs and lists, or items (`zoo.jobs.inputs.collect`).
    model: what `zoo.load` takes, or a model that transcribes, which is used as and where it is.
    formats: names of `FORMATS` with commas between, or "all"; options: those of the model's `transcribe`.

    Run again with the same settings it writes what is missing and what changed since; recordings keep the names that
    they had, whatever others come along. Recordings that cannot be read are in OUT/errors.jsonl with the reason and do
    not stop the others.

    Raises ConfigError for an option that the model cannot honor, before anything is written; ZooError where nothing
    is found, the folder is in use or was begun with other settings, a file to be written is another recording's or not
    from here, or the disk is full.
    """
    began = time.monotonic()
    console = progress if isinstance(progress, Console) else Console(stderr=True, quiet=not progress)
    workers = min(8, os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise ConfigError(f"workers {workers}: at least 1 is needed")
    chosen, items, out = parse_formats(formats), collect(paths), Path(out)
    transcriber, numbers, why = open_encoder(model, device, dtype)
    _check(transcriber, options)
    _say(console, f"{transcriber.name or transcriber.family} on {transcriber.device}, {numbers}: {why}")
    with lock_folder(out):
        settings = {"model": transcriber.fingerprint(), "dtype": numbers, "formats": chosen, "options": _plain(options)}
        journal = Journal(out, settings)
        surveyed = zip(survey(items, {}, workers, console), stems(items, journal.kept(items)), strict=True)
        tasks = [TranscriptTask(item, tuple(f"{stem}.{name}" for name in chosen)) for item, stem in surveyed]
        journal.check(tasks)
        done, missing = _divide(tasks, journal)
        job = Job(transcriber, out, journal, options, console)
        job.work(missing, workers, before=sum(task.item.seconds for task in done))
        journal.finish()
    return job.report(len(done), time.monotonic() - began)


def _check(model: Encoder, options: dict[str, Any]) -> None:
    """Raises ConfigError for a model that cannot transcribe, or not with these options."""
    if not isinstance(model, Transcriber):
        raise ConfigError(f"{model.name or model.family} cannot transcribe; use a Whisper, or a HuBERT tuned with CTC")
    if isinstance(options.get("language"), (list, tuple)):
        raise ConfigError(f"language {options['language']}: give one code, which holds for all recordings, or none")
    with suppress(AudioError):  # no recordings at all, which is found wrong after the options
        model.transcribe([], model.sample_rate, **options)


def _divide(tasks: Sequence[TranscriptTask], journal: Journal) -> tuple[list[TranscriptTask], list[TranscriptTask]]:
    """Those that earlier runs did, and the others."""
    done: list[TranscriptTask] = []
    missing: list[TranscriptTask] = []
    for task in tasks:
        (done if journal.done(task) else missing).append(task)
    return done, missing


class Job:
    """The recordings that are left to do."""

    def __init__(self, model: Any, out: Path, journal: Journal, options: dict[str, Any], console: Console) -> None:
        self.model, self.out, self.journal, self.options, self.console = model, out, journal, options, console
        self.failures = Failures(out)
        self.written, self.seconds = 0, 0.0

    def work(self, tasks: Sequence[TranscriptTask], workers: int, before: float) -> None:
        """Transcribe and write them; before: seconds of audio that earlier runs did."""
        readable = [task for task in tasks if task.item.reason is None]
        self.journal.claim(readable)
        total = before + sum(task.item.seconds for task in tasks)
        with ProgressMeter(self.console, total=total, before=before, failed=0) as meter:
            for task in tasks:
                if task.item.reason is not None:
                    self._fail(task, task.item.reason, meter)
            self.failures.write()
            try:
                self._hear(readable, workers, meter)
            except BaseException:
                with suppress(ZooError):  # what stopped the run matters more
                    self.failures.write()
                raise

    def _hear(self, tasks: Sequence[TranscriptTask], workers: int, meter: ProgressMeter) -> None:
        read = partial(decode.read, sample_rate=self.model.sample_rate, min_samples=1)
        coming = (task.item for task in tasks)
        with closing(decode.ahead(coming, read, workers=workers, look_ahead_seconds=GROUP_SECONDS)) as clips:
            for group in groups(tasks):
                self._group(group, [next(clips)[1] for _ in group], meter)
                self.failures.write()

    def _group(self, group: Sequence[TranscriptTask], clips: list[Clip | str], meter: ProgressMeter) -> None:
        heard: list[tuple[TranscriptTask, Clip]] = []
        for task, clip in zip(group, clips, strict=True):
            if isinstance(clip, str):
                self._fail(task, clip, meter)
            else:
                heard.append((task, clip))
        if not heard:
            return
        try:
            results = self._transcribe([clip for _, clip in heard], meter)
        except AudioError as error:
            if len(heard) == 1:
                self._fail(heard[0][0], error.reason, meter)
                return
            for task, clip in heard:  # which one it was is found out by taking each alone
                self._group([task], [clip], meter)
            return
        for (task, _), transcript in zip(heard, results, strict=True):
            self._write(task, transcript, meter)

    def _transcribe(self, clips: list[Clip], meter: ProgressMeter) -> list[Transcript]:
        """The model's transcripts; the meter moves while they come, and has passed all clips at the end."""
        left = sum(len(clip) for clip in clips) / self.model.sample_rate

        def advance(seconds: float) -> None:
            nonlocal left
            step = min(seconds, left)
            left -= step
            meter.advance(step)

        results: list[Transcript] = self.model.transcribe(
            clips, self.model.sample_rate, progress=advance, **self.options
        )
        advance(left)
        return results

    def _write(self, task: TranscriptTask, transcript: Transcript, meter: ProgressMeter) -> None:
        for name in task.files:
            path = self.out / name
            try:
                _put(path, render(transcript, path.suffix[1:]).encode())
            except OSError as error:
                if is_everybodys(error):
                    raise unwritable(path, error) from error
                self.failures.add(task.item, f"{path}: cannot be written ({error.strerror or error})")
                meter.fail(0.0)  # its seconds have passed
                return
        self.journal.add(task)
        self.written += 1
        self.seconds += transcript.duration

    def _fail(self, task: TranscriptTask, reason: str, meter: ProgressMeter) -> None:
        self.failures.add(task.item, reason)
        meter.fail(task.item.seconds)

    def report(self, skipped: int, wall_seconds: float) -> TranscribeSummary:
        """Say what was done."""
        before = f"; {skipped} were there already" if skipped else ""
        if self.written:
            speed = f"{self.seconds / max(wall_seconds, 1e-9):.1f}x real time with loading"
            _say(
                self.console,
                f"{self.out}: {self.written} recordings, {self.seconds / 3600:.2f} h in {clock(wall_seconds)}, "
                f"{speed}{before}",
            )
        else:
            _say(self.console, f"{self.out}: nothing written{before}")
        for item, reason in islice(self.failures, 10):
            _say(self.console, printable(f"failed: {item.path}: {reason}"))
        if self.failures:
            _say(self.console, f"{len(self.failures)} failed; all reasons are in {self.out / ERRORS_NAME}")
        return TranscribeSummary(self.written, skipped, len(self.failures), self.seconds / 3600, wall_seconds)


def groups(tasks: Sequence[TranscriptTask]) -> Iterator[list[TranscriptTask]]:
    """Consecutive recordings, about GROUP_SECONDS at a time."""
    group: list[TranscriptTask] = []
    seconds = 0.0
    for task in tasks:
        if group and (seconds + task.item.seconds > GROUP_SECONDS or len(group) == GROUP_FILES):
            yield group
            group, seconds = [], 0.0
        group.append(task)
        seconds += task.item.seconds
    if group:
        yield group


def _put(path: Path, content: bytes) -> None:
    with replacing_file(path) as partial:
        partial.write_bytes(content)


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Options as they can be compared later."""
    plain = (bool, int, float, str, type(None))
    return {name: value if isinstance(value, plain) else repr(value) for name, value in options.items()}


def _say(console: Console, line: str) -> None:
    """A line as it is: names may hold what Rich takes for markup."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
