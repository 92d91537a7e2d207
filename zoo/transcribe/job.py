"""One transcription job, from paths to files.

collect -> survey -> ahead ==threads==> model.transcribe -> OUT/talk.json -> OUT/talk.srt, journal
inputs                                     failures -----------------> OUT/_errors.jsonl
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from zoo.audio import Clip
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError, ZooError
from zoo.io import messages
from zoo.io.locks import lock_folder
from zoo.io.terminal import print_plain
from zoo.io.text import clock, one_line
from zoo.jobs import decode
from zoo.jobs.failures import ERRORS_NAME
from zoo.jobs.inputs import collect
from zoo.jobs.lists import Item
from zoo.jobs.progress import ProgressMeter
from zoo.jobs.survey import survey
from zoo.loading import open_encoder
from zoo.nn.precision import in_words
from zoo.text.formats import SubtitleStyle, parse_formats
from zoo.text.transcript import Transcript
from zoo.transcribe.disk import affects_all_files, unwritable
from zoo.transcribe.failures import Failures
from zoo.transcribe.journal import Journal, Plan, TranscriptTask
from zoo.transcribe.naming import stems
from zoo.transcribe.settings import check_options, complete_options, describe, note_on_words, settings_of

GROUP_SECONDS = 600.0  # audio that the model gets at once, and the most that a crash loses; a longer file is alone
GROUP_FILES = 256


@dataclass(frozen=True)
class TranscribeSummary:
    """Counts of recordings: written + rendered + skipped + failed = all.

    written: transcribed; rendered: transcribed by earlier runs, with formats written now from their JSON; skipped:
    everything was there. without_speech: of the written ones, those with an empty transcript.
    audio_hours: of the written recordings; wall_seconds: of the whole run, loading of the model included.
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
    progress: bool | Console = True,
    **options: Any,
) -> TranscribeSummary:
    """Transcribe any number of recordings into files of a folder.

    paths: files, folders, globs and lists, or items (`zoo.jobs.inputs.collect`).
    model: a source for `zoo.load`, or a loaded model that transcribes; its device and dtype do not change.
    formats: names of `FORMATS`, separated by commas, or "all". JSON is always written too.
    highlight_words, max_words_per_line: words in subtitles, see `SubtitleStyle`; they turn word timestamps on.
    options: of the model's `transcribe`.

    A second run with the same settings transcribes missing and changed recordings only. Other formats and styles of
    subtitles are written from the JSON, without transcribing again. Recordings keep the names of their files, even if
    other recordings are added. OUT/_errors.jsonl lists recordings that cannot be read, with the reason;
    they do not stop the others.

    Raises ConfigError for an option that the model does not support, before anything is written; ZooError if there are
    no recordings, if the folder is in use or was made with other settings, if a file would replace the transcript of
    another recording or a file that is not from `zoo transcribe`, or if the disk is full.
    """
    began = time.monotonic()
    console = progress if isinstance(progress, Console) else messages.console(quiet=not progress)
    workers = min(8, os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise ConfigError(f"workers {workers}: at least 1 is needed")
    names, style = parse_formats(formats), SubtitleStyle(highlight_words, max_words_per_line)
    options = complete_options(options, names, style)
    items, out = collect(paths), Path(out)
    transcriber, dtype_name, reason = open_encoder(model, device, dtype)
    check_options(transcriber, options)
    _say(console, f"{describe(transcriber, model)} on {in_words(transcriber.device, dtype_name, reason)}")
    note = note_on_words(options, names, style)
    if note:
        _say(console, note)
    with lock_folder(out):
        journal = Journal(out, settings_of(transcriber, dtype_name, options))
        surveyed = zip(survey(items, {}, workers, console), stems(items, journal.stems(items)), strict=True)
        tasks = [TranscriptTask(item, stem, names, style.name) for item, stem in surveyed]
        journal.check(tasks)
        plan = Plan.of(tasks, journal)
        job = Job(transcriber, out, journal, options, style, console)
        unreadable = job.write_formats(plan.transcribed)
        before = sum(task.item.seconds for task in [*plan.done, *plan.transcribed])
        job.work([*plan.missing, *unreadable], workers, before=before)
        journal.finish()
    return job.report(len(plan.done), time.monotonic() - began)


class Job:
    """Transcribes and writes the missing recordings of a run."""

    def __init__(
        self,
        model: Any,
        out: Path,
        journal: Journal,
        options: dict[str, Any],
        style: SubtitleStyle,
        console: Console,
    ) -> None:
        self.model, self.out, self.journal, self.options, self.console = model, out, journal, options, console
        self.style = style
        self.failures = Failures(out)
        self.written, self.rendered, self.seconds = 0, 0, 0.0
        self.without_speech: list[str] = []

    def write_formats(self, tasks: Sequence[TranscriptTask]) -> list[TranscriptTask]:
        """Write the missing formats of transcribed recordings. Returns the tasks whose JSON cannot be read."""
        unreadable: list[TranscriptTask] = []
        missing = {task.stem: self.journal.missing(task) for task in tasks}
        if tasks:
            self.journal.claim(tasks, transcribed=True)
        for task in tasks:
            try:
                transcript = Transcript.load(self.out / task.json)
            except ZooError:
                unreadable.append(self.journal.with_earlier_formats(task))
                continue
            if self._write_files(task, missing[task.stem], transcript):
                self.rendered += 1
        return unreadable

    def work(self, tasks: Sequence[TranscriptTask], workers: int, before: float) -> None:
        """Transcribe the tasks and write their files. before: seconds of audio that earlier runs have done."""
        readable = [task for task in tasks if task.item.reason is None]
        self.journal.claim(readable)
        total = before + sum(task.item.seconds for task in tasks)
        with ProgressMeter(self.console, total=total, before=before, failed=0) as meter:
            for task in tasks:
                if task.item.reason is not None:
                    self._fail(task, task.item.reason, meter)
            self.failures.write()
            try:
                self._transcribe_all(readable, workers, meter)
            except BaseException:
                with suppress(ZooError):  # the error that stopped the run is more important
                    self.failures.write()
                raise

    def _transcribe_all(self, tasks: Sequence[TranscriptTask], workers: int, meter: ProgressMeter) -> None:
        read = partial(decode.read, sample_rate=self.model.sample_rate, min_samples=1)
        items = (task.item for task in tasks)
        with closing(decode.ahead(items, read, workers=workers, look_ahead_seconds=GROUP_SECONDS)) as clips:
            for group in groups(tasks):
                self._transcribe_group(group, [next(clips)[1] for _ in group], meter)
                self.failures.write()

    def _transcribe_group(self, group: Sequence[TranscriptTask], clips: list[Clip | str], meter: ProgressMeter) -> None:
        readable: list[tuple[TranscriptTask, Clip]] = []
        for task, clip in zip(group, clips, strict=True):
            if isinstance(clip, str):
                self._fail(task, clip, meter)
            else:
                readable.append((task, clip))
        if not readable:
            return
        try:
            results = self._transcribe([clip for _, clip in readable], meter)
        except AudioError as error:
            if len(readable) == 1:
                self._fail(readable[0][0], error.reason, meter)
                return
            for task, clip in readable:  # one at a time, to find the one that failed
                self._transcribe_group([task], [clip], meter)
            return
        for (task, _), transcript in zip(readable, results, strict=True):
            self._write(task, transcript, meter)

    def _transcribe(self, clips: list[Clip], meter: ProgressMeter) -> list[Transcript]:
        """The model's transcripts. The meter advances meanwhile, and has passed all clips at the end."""
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
        if not self._write_files(task, task.files, transcript):
            meter.fail(0.0)  # the meter has passed its seconds already
            return
        self.written += 1
        self.seconds += transcript.duration
        if not transcript.text:
            self.without_speech.append(task.item.path)

    def _write_files(self, task: TranscriptTask, names: Sequence[str], transcript: Transcript) -> bool:
        """Write the files with these names, and record them. Returns whether that succeeded."""
        for name in names:
            path = self.out / name
            try:
                transcript.save(path, **asdict(self.style))
            except OSError as error:
                if affects_all_files(error):
                    raise unwritable(path, error) from error
                self.failures.add(task.item, f"{path}: cannot be written ({error.strerror or error})")
                return False
        self.journal.add(task)
        return True

    def _fail(self, task: TranscriptTask, reason: str, meter: ProgressMeter) -> None:
        self.failures.add(task.item, reason)
        meter.fail(task.item.seconds)

    def report(self, skipped: int, wall_seconds: float) -> TranscribeSummary:
        """Print and return a summary."""
        before = f"; {skipped} were already there" if skipped else ""
        if self.rendered:
            before = f"; formats of {self.rendered} recordings made from their JSON, without transcribing again{before}"
        if self.written:
            speed = f"{self.seconds / max(wall_seconds, 1e-9):.1f}x real time with loading"
            _say(
                self.console,
                f"{self.out}: {self.written} recordings, {self.seconds / 3600:.2f} h in {clock(wall_seconds)}, "
                f"{speed}{before}",
            )
        else:
            _say(self.console, f"{self.out}: nothing written{before}")
        if self.without_speech:
            named = ", ".join(one_line(path) for path in self.without_speech[:3])
            more = ", ..." if len(self.without_speech) > 3 else ""
            _say(self.console, f"no speech found in {len(self.without_speech)} recordings: {named}{more}")
        for item, reason in islice(self.failures, 10):
            _say(self.console, one_line(f"failed: {item.path}: {reason}"))
        if self.failures:
            _say(self.console, f"{len(self.failures)} failed; all reasons are in {self.out / ERRORS_NAME}")
        return TranscribeSummary(
            written=self.written,
            rendered=self.rendered,
            skipped=skipped,
            failed=len(self.failures),
            without_speech=len(self.without_speech),
            audio_hours=self.seconds / 3600,
            wall_seconds=wall_seconds,
        )


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


def _say(console: Console, line: str) -> None:
    """Print a line without markup, because names may hold square brackets."""
    print_plain(console, line)
