"""An exam from beginning to end: every task of a suite, for every subject, resumable at any point."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace as changed_copy
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from zoo.benchmarks import evaluate, pages, robustness, suite, table, tasks
from zoo.benchmarks.conditions import Condition, parse
from zoo.benchmarks.features import Features, extract
from zoo.benchmarks.item_scores import read_rows
from zoo.benchmarks.items import EvalItems, open_source
from zoo.benchmarks.results import Record, Rows, Store
from zoo.benchmarks.suite import PROBES, Suite, SuiteTask
from zoo.benchmarks.targets import ProbeTargets, prepare_folds
from zoo.benchmarks.tested_models import CHANCE, TestedModel, tested_models
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError, MissingDependencyError
from zoo.io.locks import lock_folder


def run(
    models: Sequence[str | Path | Encoder],
    exam: str | Path | Suite = "mini",
    out: str | Path = "bench",
    *,
    baselines: bool = True,
    tasks: Sequence[str] = (),
    device: str = "auto",
    dtype: str = "float32",
    cache: str | Path | None = None,
    console: Console | None = None,
    command: str = "",
) -> Store:
    """Examine models; what `out` holds already is not computed again.

    models: what zoo.load takes, that with a name ("NAME=SOURCE"), or encoders. exam: name or file of a suite.
    tasks: names, all when left out. cache: folder of features, default ZOO_CACHE or ~/.cache/audiozoo.
    command: what results.json says that they were computed by.
    Writes results.json, results.md, report.html and what was predicted.

    Raises what zoo.load, suite.load and items.open_source raise: before anything is computed.
    """
    if isinstance(exam, Suite):
        suite.check(exam, f"suite {exam.name}")
    chosen = exam if isinstance(exam, Suite) else suite.load(exam)
    wanted = _choose(chosen, tasks)
    cache = Path(cache or default_cache())
    console = console or Console(stderr=True)
    folder = Path(out)
    who = tested_models(models, baselines=baselines, device=device, dtype=dtype)
    sources = {name: open_source(chosen.data[name]) for name in dict.fromkeys(task.data for task in wanted)}
    with lock_folder(folder):
        store = Store(folder, chosen.name, command)
        session = _Session(chosen, sources, store, cache, console)
        for subject in who:
            for task in wanted:
                session.examine(task, subject)
        if baselines:
            for task in wanted:
                session.chance(task)
        pages.write(store)
    return store


def default_cache() -> Path:
    """Where features are kept: under the folder that ZOO_CACHE names, or ~/.cache/audiozoo."""
    return Path(os.environ.get("ZOO_CACHE") or "~/.cache/audiozoo").expanduser() / "features"


def _choose(chosen: Suite, tasks: Sequence[str]) -> list[SuiteTask]:
    known = [task.name for task in chosen.tasks]
    if unknown := [name for name in tasks if name not in known]:
        raise ConfigError(f"suite {chosen.name} has no task {unknown[0]!r}; it has {'; '.join(known)}")
    return [task for task in chosen.tasks if not tasks or task.name in tasks]


def _asked_of_baselines(task: SuiteTask, encoder: Encoder) -> bool:
    """Probes; and speed, but not of the untrained: it is that of the model."""
    return task.kind in PROBES or (task.kind == "speed" and not any(True for _ in encoder.parameters()))


class _Session:
    """What all tasks of one run share."""

    def __init__(self, exam: Suite, sources: dict[str, EvalItems], store: Store, cache: Path, console: Console) -> None:
        self.exam, self.sources, self.store, self.cache, self.console = exam, sources, store, cache, console
        self._features: dict[tuple[str, str], Features] = {}
        self._fingerprints: dict[int, str] = {}

    def examine(self, task: SuiteTask, subject: TestedModel) -> None:
        """One task, one subject: taken from the store, computed, or skipped with a reason."""
        record = self._record(task, subject)
        known = self._known(record)
        if known and known.status == "ok":  # what was skipped may be possible by now
            return
        began = time.monotonic()
        rows: Rows = []
        asked = self.exam.base(task) if task.of else task
        missing = tasks.unsupported_reason(asked, subject.encoder)
        if subject.role == "baseline" and not _asked_of_baselines(asked, subject.encoder):
            return
        try:
            if missing:
                raise ConfigError(missing)
            if task.kind in PROBES:
                features, folds = self._prepare(task, subject)
                rows = evaluate.run_probe(record, task, folds, features, str(subject.encoder.device))
            elif task.kind == "robustness":
                rows = self._robustness(record, task, subject)
            else:
                rows = tasks.run(record, task, self.sources[task.data], subject.encoder)
        except (ConfigError, MissingDependencyError, AudioError) as error:
            record.status, record.reason, record.score = "skipped", str(error), None
        if record.status == "ok" and not (record.score is not None and math.isfinite(record.score)):
            record.status, record.reason, record.score = "skipped", "the score is not a number", None
        record.seconds = round(time.monotonic() - began, 2)
        if not known or (known.status, known.reason) != (record.status, record.reason):
            self._keep(record, rows)

    def chance(self, task: SuiteTask) -> None:
        """What guessing would score."""
        if task.kind not in PROBES:
            return
        record = self._record(task)
        if self._known(record):
            return
        try:
            folds = prepare_folds(task, self.sources[task.data], {}, self.exam.frames)
            self._keep(record, evaluate.run_chance(record, task, folds))
        except ConfigError as error:
            record.status, record.reason = "skipped", str(error)
            self._keep(record, [])

    def _robustness(self, record: Record, task: SuiteTask, subject: TestedModel) -> Rows:
        base, encoder = self.exam.base(task), subject.encoder
        items = self.sources[base.data]
        if base.kind in PROBES:
            features, folds = self._prepare(base, subject)

            def corrupted(places: list[int], condition: Condition) -> Features:
                return extract(
                    encoder, items.only(places), self.cache, frames=self._frames(base.data), condition=condition
                )

            return evaluate.run_robustness(record, task, base, folds, features, corrupted, str(encoder.device))
        self.examine(base, subject)  # its answers on clean clips, unless they are there already
        clean = self.store.get(self._record(base, subject))
        if clean is None or clean.status != "ok":
            raise ConfigError(f"{base.name} was skipped")
        changed = {}
        for name in task.conditions:
            asked = changed_copy(clean, notes=[], details={})
            changed[name] = tasks.run(asked, base, items, encoder, parse(name))
            record.notes += [f"{name}: {note}" for note in asked.notes if note not in clean.notes]
        return robustness.of_rows(record, clean, read_rows(self.store.folder, clean), changed)

    def _record(self, task: SuiteTask, subject: TestedModel | None = None) -> Record:
        """Empty as yet; of chance, where no subject is named."""
        data, key = self.sources[task.data].fingerprint, self.exam.fingerprint(task)
        if subject is None:
            return Record(task.name, task.kind, CHANCE, "baseline", "", data, key)
        if task.kind == "speed" and subject.encoder.device.type != "cpu":
            key += f"-{subject.encoder.device.type}"  # how fast it is elsewhere is another question
        model = self._fingerprint(subject.encoder)
        return Record(task.name, task.kind, subject.name, subject.role, model, data, key)

    def _known(self, record: Record) -> Record | None:
        """What the store has of it, which is then of the settings that count."""
        known = self.store.get(record)
        if known:
            self.store.recall(record)
        return known

    def _keep(self, record: Record, rows: Rows) -> None:
        self.store.add(record, rows)
        self.console.print(table.line(record), highlight=False, markup=False, soft_wrap=True)

    def _fingerprint(self, encoder: Encoder) -> str:
        if id(encoder) not in self._fingerprints:
            self._fingerprints[id(encoder)] = encoder.fingerprint()
        return self._fingerprints[id(encoder)]

    def _prepare(self, task: SuiteTask, subject: TestedModel) -> tuple[Features, list[ProbeTargets]]:
        """What a probe needs, and what it is asked in each fold. Features are read once for all tasks of a source."""
        key, items = (task.data, self._fingerprint(subject.encoder)), self.sources[task.data]  # names may be alike
        if key not in self._features:
            what = f"{subject.name}: reading {len(items.items)} clips of {task.data}"
            total, frames = sum(item.entry.duration for item in items.items), self._frames(task.data)
            self.console.print(what, highlight=False, markup=False)
            with Progress(console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
                reading = bar.add_task("", total=total)
                self._features[key] = extract(
                    subject.encoder,
                    items,
                    self.cache,
                    frames=frames,
                    advance=lambda seconds: bar.advance(reading, seconds),
                )
        return self._features[key], prepare_folds(task, items, self._features[key].failed, self.exam.frames)

    def _frames(self, source: str) -> int:
        """Points of time to keep of each clip of a source; 0 unless phones are asked there."""
        asked = any(task.kind == "phones" and task.data == source for task in self.exam.tasks)
        return self.exam.frames if asked else 0
