"""`zoo transcribe` as a task of the job engine. Shards are lines about files in a folder of the job, OUT/.job."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from zoo.encoder import Encoder
from zoo.errors import AudioError, ZooError
from zoo.jobs import claims, decode
from zoo.jobs.failures import ERRORS_NAME
from zoo.jobs.lists import Item
from zoo.jobs.plan import FOLDER, PLAN_NAME, Limits, Plan, Shard, read_plan
from zoo.jobs.shards import JSON_LINES, Failure, LinesWriter, read_lines, stored_failures
from zoo.jobs.survey import file_stamp, unreadable
from zoo.jobs.task import Advance, Decoded
from zoo.loading import open_encoder
from zoo.text.formats import SUBTITLES, SubtitleStyle
from zoo.text.transcript import Transcript
from zoo.transcribe.disk import affects_all_files, unwritable
from zoo.transcribe.ledger import Ledger, Owners, Record, compared, foreign, key
from zoo.transcribe.naming import stems

GROUP_SECONDS = 600.0  # audio that the model gets at once, and the most that a crash loses; a longer file is alone
GROUP_FILES = 256


class TranscribeTask:
    """Recordings -> transcripts in files of a folder.

    settings: of `settings_of`. options: of the model's `transcribe`. formats, style: of the files besides JSON.
    written: key of each recording that this run transcribed -> its path, its seconds and whether it has text.
    rendered: recordings whose formats this process wrote from their JSON. unwritten: those where that failed, and why.
    """

    name = "transcribe"
    suffix = JSON_LINES
    limits = Limits(GROUP_FILES, GROUP_SECONDS)
    look_ahead_seconds = GROUP_SECONDS

    def __init__(
        self,
        model: Encoder,
        out: Path,
        settings: Mapping[str, Any],
        options: Mapping[str, Any],
        formats: Sequence[str],
        style: SubtitleStyle,
    ) -> None:
        self.model: Any = model
        self.device = model.device.type
        self.out, self.errors = out, out  # type: Path, Path | None
        self.run_settings, self.options, self.style = settings, options, style
        self.settings = compared(settings)
        self.formats = tuple(dict.fromkeys(("json", *formats)))
        self.read = partial(decode.read, sample_rate=model.sample_rate, min_samples=1)
        self.written: dict[str, tuple[str, float, bool]] = {}
        self.rendered: set[str] = set()
        self.unwritten: list[tuple[Item, str]] = []

    @property
    def folder(self) -> Path:
        """The folder of the job."""
        return self.out / FOLDER

    @cached_property
    def ledger(self) -> Ledger:
        """The records when this run began."""
        return Ledger(self.out, self.run_settings)

    def select(self, items: Sequence[Item]) -> list[list[Item]]:
        """The recordings to transcribe; the label of each is the stem of its files. Writes formats from JSON."""
        begun = self._begun_plan()
        ledger = Ledger(self.out, self.run_settings)
        if not ledger.exists and begun is None and (self.out / ERRORS_NAME).exists():
            raise foreign(self.out / ERRORS_NAME)
        planned = {} if begun is None else {one.item: begun.labels[index][0] for index, one in enumerate(begun.items)}
        earlier = {item: ledger.stem(item) or planned.get(item.span) for item in items}
        names = stems(items, {item: str(stem) for item, stem in earlier.items() if stem is not None})
        self._check_owners(items, names, ledger, {item: str(stem) for item, stem in planned.items()})
        if begun is not None and not planned.keys() <= {item.span for item in items}:
            self._settle(begun, ledger)
        stem_of = dict(zip(items, names, strict=True))
        transcribed = {item for item in items if ledger.transcribed(item, _stamp(item))}
        unreadable_json = self._render_all({item: stem_of[item] for item in items if item in transcribed}, ledger)
        missing = [item for item in items if item not in transcribed or item in unreadable_json]
        return [[item._replace(labels=(stem_of[item],)) for item in missing]]

    def _begun_plan(self) -> Plan | None:
        """The plan of a run that was stopped. It is dropped if it had other settings and has written nothing."""
        plan = read_plan(self.folder / PLAN_NAME)
        if plan is None or plan.settings == self.settings:
            return plan
        used = any((self.out / f"{labels[0]}.json").exists() for labels in plan.labels)
        if not used and not claims.owners(self.folder):
            (self.folder / PLAN_NAME).unlink()
            return None
        return plan

    def _settle(self, plan: Plan, ledger: Ledger) -> None:
        """Record what a stopped run has written, and drop its plan: this run is not about all of its recordings."""
        if claims.owners(self.folder):
            return  # it is not stopped
        for index in range(len(plan.items)):
            self._claim_files(plan, index, ledger)
        for shard in plan.shards():
            path = self.folder / plan.name(shard)
            if stored_failures(path, shard) is not None:
                for record in read_lines(path):
                    ledger.add(record)
        ledger.write()
        self._clear(plan)

    def _claim_files(self, plan: Plan, index: int, ledger: Ledger) -> None:
        """Record the files of a recording that is not finished."""
        item = plan.items[index].item
        names = self._styles(str(plan.labels[index][0]), ledger.formats(item))
        present = {name: None for name in names if os.path.isfile(self.out / name)}  # noqa: PTH113 (False for a name that is too long)
        ledger.add({"item": key(item), "file": None, "files": present})

    def _clear(self, plan: Plan) -> None:
        (self.folder / PLAN_NAME).unlink()  # first, so that no worker misses the shards
        for shard in plan.shards():
            (self.folder / plan.name(shard)).unlink(missing_ok=True)

    def _check_owners(
        self, items: Sequence[Item], names: Sequence[str], ledger: Ledger, planned: Mapping[Item, str]
    ) -> None:
        owners = Owners(self.out)
        for owner, record in ledger.records.items():
            owners.add(owner, record["files"])
        for item, stem in planned.items():
            owners.add(key(item), self._styles(stem, ledger.formats(item)))
        for item, stem in zip(items, names, strict=True):
            try:
                owners.check(item, self._styles(stem))
            except ZooError:
                if key(item) in ledger.records or not unreadable(item.path):
                    raise  # otherwise no file will be written

    def _styles(self, stem: str, more: Sequence[str] = ()) -> dict[str, str]:
        """Name of each file of a recording -> style of its subtitles. more: formats besides those of the run."""
        names = dict.fromkeys((*self.formats, *more))
        return {f"{stem}.{name}": self.style.name if name in SUBTITLES else "" for name in names}

    def _render_all(self, stem_of: Mapping[Item, str], ledger: Ledger) -> set[Item]:
        """Write the missing formats of transcribed recordings. Returns those whose JSON cannot be read."""
        styles_of = {item: self._styles(stem) for item, stem in stem_of.items()}
        missing = {item: ledger.missing(item, styles) for item, styles in styles_of.items()}
        missing = {item: names for item, names in missing.items() if names}
        if not missing:
            return set()
        for item, names in missing.items():
            ledger.add({**ledger.records[key(item)], "files": dict.fromkeys(names)})
        ledger.write()  # the names first, so that the files of a killed run are recognized
        unreadable_json: set[Item] = set()
        try:
            for item, names in missing.items():
                path = self.out / f"{stem_of[item]}.json"
                try:
                    transcript = Transcript.load(path)
                except ZooError:
                    unreadable_json.add(item)
                    continue
                error = self._save(names, transcript)
                if error is None:
                    ledger.add({**ledger.records[key(item)], "files": styles_of[item]})
                    self.rendered.add(key(item))
                else:
                    self.unwritten.append((item, error))
        finally:
            ledger.write()
        return unreadable_json

    def compute(self, batch: Sequence[Decoded], advance: Advance) -> Iterator[tuple[int, Record] | Failure]:
        """Transcribe and write the files. If the model refuses a recording, the others are transcribed one by one."""
        if not batch:
            return
        try:
            transcripts = self._transcribe(batch, advance)
        except AudioError as error:
            if len(batch) == 1:
                yield Failure(batch[0].item_index, error.reason)
                return
            for decoded in batch:
                yield from self.compute([decoded], advance)
            return
        for decoded, transcript in zip(batch, transcripts, strict=True):
            yield self._write(decoded, transcript)

    def _transcribe(self, batch: Sequence[Decoded], advance: Advance) -> list[Transcript]:
        """The model's transcripts. `advance` is called meanwhile, for all the audio in the end."""
        left = sum(len(decoded.clip) for decoded in batch) / self.model.sample_rate

        def progress(seconds: float) -> None:
            nonlocal left
            step = min(seconds, left)
            left -= step
            advance(step)

        clips = [decoded.clip for decoded in batch]
        transcripts: list[Transcript] = self.model.transcribe(
            clips, self.model.sample_rate, progress=progress, **self.options
        )
        advance(left)
        return transcripts

    def _write(self, decoded: Decoded, transcript: Transcript) -> tuple[int, Record] | Failure:
        """Write the files of a recording, also those of an old transcript in other formats."""
        item = decoded.item
        styles = self._styles(str(decoded.labels[0]), self.ledger.formats(item.item))
        error = self._save(list(styles), transcript)
        if error is not None:
            return Failure(decoded.item_index, error)
        record = {"item": key(item.item), "file": [item.size, item.mtime_ns], "files": styles}
        return decoded.item_index, {**record, "seconds": transcript.duration, "has_text": bool(transcript.text)}

    def _save(self, names: Sequence[str], transcript: Transcript) -> str | None:
        """Write files. Returns why one cannot be written. Raises ZooError if none can be."""
        for name in names:
            path = self.out / name
            try:
                transcript.save(path, **asdict(self.style))
            except OSError as error:
                if affects_all_files(error):
                    raise unwritable(path, error) from error
                return f"{path}: cannot be written ({error.strerror or error})"
        return None

    def writer(self, path: Path, plan: Plan, shard: Shard) -> LinesWriter:
        """A writer of records."""
        return LinesWriter(path, plan, shard)

    def collect(self, path: Path, plan: Plan) -> None:
        """Count the recordings of a shard."""
        try:
            records = read_lines(path)
        except FileNotFoundError:  # another worker has finished the job since
            return
        for record in records:
            recording = str(json.loads(record["item"])[0])
            self.written[record["item"]] = recording, record["seconds"], record["has_text"]

    def finish(self, folder: Path, plan: Plan, failures: Sequence[Failure]) -> None:
        """Add the records of the shards to the ledger. A run that was stopped may have written other formats."""
        ledger = Ledger(self.out, self.run_settings)
        for index, _ in failures:
            self._claim_files(plan, index, ledger)
        records = [record for shard in plan.shards() for record in read_lines(folder / plan.name(shard))]
        for record in records:
            ledger.add(record)
        stem_of = {key(item.item): str(labels[0]) for item, labels in zip(plan.items, plan.labels, strict=True)}
        item_of = {key(item.item): item.item for item in plan.items}
        self._render_all({item_of[record["item"]]: stem_of[record["item"]] for record in records}, ledger)
        ledger.write()
        self._clear(plan)


def load_task(model: str | Path, device: str, dtype: str, out: Path, **plain: Any) -> TranscribeTask:
    """The task in another process."""
    return TranscribeTask(open_encoder(model, device, dtype)[0], out, **plain)


def _stamp(item: Item) -> tuple[int, int] | None:
    try:
        return file_stamp(item.path)
    except OSError:
        return None
