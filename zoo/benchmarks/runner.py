"""Run a benchmark: every task of a suite, for every model. A run that stops can be resumed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace as changed_copy
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from zoo import loading
from zoo.benchmarks import evaluate, pages, robustness, table, tasks, unsupervised
from zoo.benchmarks.conditions import Condition, parse
from zoo.benchmarks.evaluated import Embedder, caption
from zoo.benchmarks.features import Features, extract
from zoo.benchmarks.floors import RIDGE, MostFrequentText, RidgeOnLogmel, ridge_fingerprint
from zoo.benchmarks.item_scores import read_rows
from zoo.benchmarks.items import EvalItems, LeakError, open_source
from zoo.benchmarks.kinds import ADDED, OF_TEXT, PROBES, UNSUPERVISED, WITHOUT_ENCODER_BASELINES
from zoo.benchmarks.results import Record, Rows, Store, TaskResult
from zoo.benchmarks.suite import Suite, SuiteTask, check, load
from zoo.benchmarks.targets import ProbeTargets, prepare_folds
from zoo.benchmarks.tested_models import CHANCE, TestedModel, load_tested_models
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError, ManifestError, MissingDependencyError, ZooError
from zoo.io import messages
from zoo.io.locks import lock_folder
from zoo.io.terminal import print_plain
from zoo.io.text import one_line


def run(
    models: Sequence[str | Path | Encoder],
    suite: str | Path | Suite = "mini",
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
    """Evaluate models on a suite. Results that `out` holds already are not computed again.

    models: what zoo.load takes, as it is or as "NAME=SOURCE", or encoders. suite: name, file, or a Suite.
    tasks: names of tasks, default all. cache: folder of features, default ZOO_CACHE or ~/.cache/audiozoo.
    command: the command line to store in results.json.
    Writes results.json, results.md, report.html and the predictions. `Store.of_this_run` holds the results of these
    models and tasks, computed now or before; see `raise_if_nothing_evaluated`.

    Raises what zoo.load, suite.load and items.open_source raise, before anything is computed.
    """
    if isinstance(suite, Suite):
        check(suite, f"suite {suite.name}")
    else:
        suite = load(suite)
    selected = _select_tasks(suite, tasks)
    cache = Path(cache or default_cache())
    console = console or messages.console()
    folder = Path(out)
    kinds = {(suite.base(task) if task.of else task).kind for task in selected}
    with_encoders = baselines and not kinds <= set(WITHOUT_ENCODER_BASELINES)
    tested = load_tested_models(models, baselines=with_encoders, device=device, dtype=dtype)
    sources = {name: _open(name, suite) for name in dict.fromkeys(task.data for task in selected)}
    with lock_folder(folder):
        store = Store(folder, suite.name, command)
        store.results.about = suite.about
        session = _Session(suite, sources, store, cache, console)
        for model in tested:
            for task in selected:
                session.evaluate(task, model)
        if baselines:
            for model in [each for each in tested if each.role == "model"]:
                for task in selected:
                    session.evaluate_ridge(task, model)
            for task in selected:
                session.evaluate_chance(task)
        store.of_this_run = session.records
        pages.write(store)
    return store


def raise_if_nothing_evaluated(store: Store) -> None:
    """Raise ZooError, with the reasons, if each task of this run was skipped for each of its models."""
    records = [record for record in store.of_this_run if record.role == "model"]
    if any(record.status == "ok" for record in records):
        return
    reasons = "; ".join(table.skipped(records)) or "the suite has no task for it"
    raise ZooError(f"nothing was evaluated: {reasons}")


def default_cache() -> Path:
    """The folder of features: inside ZOO_CACHE, or ~/.cache/audiozoo."""
    return Path(os.environ.get("ZOO_CACHE") or "~/.cache/audiozoo").expanduser() / "features"


def _select_tasks(suite: Suite, tasks: Sequence[str]) -> list[SuiteTask]:
    available = [task.name for task in suite.tasks]
    if unknown := [name for name in tasks if name not in available]:
        raise ConfigError(f"suite {suite.name} has no task {unknown[0]!r}; it has {'; '.join(available)}")
    return [task for task in suite.tasks if not tasks or task.name in tasks]


def _open(name: str, suite: Suite) -> EvalItems:
    """The clips of a source. Errors start with its name in the suite."""
    try:
        return open_source(suite.data[name])
    except (ConfigError, LeakError, ManifestError) as error:
        raise type(error)(f"data {name!r}: {error}") from None


def _is_for_baselines(task: SuiteTask, encoder: Encoder) -> bool:
    """Baselines get probes, added kinds, and speed. Not the speed of an untrained model: it is that of the trained."""
    if task.kind in ADDED:
        return ADDED[task.kind].baselines and not tasks.unsupported_reason(task, encoder)
    return task.kind in (*PROBES, *UNSUPERVISED, "abx") or (
        task.kind == "speed" and not any(True for _ in encoder.parameters())
    )


class _Session:
    """The state that all tasks of one run share."""

    def __init__(
        self, suite: Suite, sources: dict[str, EvalItems], store: Store, cache: Path, console: Console
    ) -> None:
        self.suite, self.sources, self.store, self.cache, self.console = suite, sources, store, cache, console
        self.records: list[Record] = []  # of this run, computed now or before
        self._features: dict[tuple[str, str], Features] = {}
        self._fingerprints: dict[int, str] = {}
        self._embed = Embedder()
        self._ridges: dict[tuple[str, str], RidgeOnLogmel] = {}

    def evaluate(self, task: SuiteTask, model: TestedModel) -> None:
        """Evaluate one model on one task: take the result from the store, compute it, or skip it with a reason."""
        record = self._new_record(task, model)
        stored = self._stored(record)
        if stored and stored.status == "ok":  # a skipped task is tried again
            self.records.append(stored)
            return
        base = self.suite.base(task) if task.of else task
        if model.role == "baseline" and not _is_for_baselines(base, model.encoder):
            return
        record, rows = self._finish(record, lambda: self._compute(task, base, model))
        self.records.append(record)
        if not stored or (stored.status, stored.reason) != (record.status, record.reason):
            self._add(record, rows)

    def evaluate_chance(self, task: SuiteTask) -> None:
        """Evaluate the chance baseline on a probe task, or the most frequent text of train on one of word errors."""
        items = self.sources[task.data]
        has_texts = any(item.entry.split == "train" and item.entry.text for item in items.items)
        if task.kind not in PROBES and not (task.kind == "wer" and has_texts):
            return
        record = self._new_record(task)
        if not self._stored(record):
            self._add(*self._finish(record, lambda: self._chance(task, items)))

    def evaluate_ridge(self, task: SuiteTask, model: TestedModel) -> None:
        """Evaluate ridge regression on log-mel, for a task on text. The source needs captions in train and dev."""
        items = self.sources[task.data]
        if task.kind not in OF_TEXT or tasks.unsupported_reason(task, model.encoder):
            return
        if {"train", "dev"} - {item.entry.split for item in items.items if caption(item)}:
            return
        logmel = loading.load("logmel", device=str(model.encoder.device))
        record = self._new_record(task, model)
        record.model, record.role = f"{model.name}, {RIDGE}", "baseline"
        record.fingerprint = ridge_fingerprint(record.fingerprint, self._fingerprint(logmel))
        if not self._stored(record):
            ridge = partial(self._ridge, (task.data, record.fingerprint), model.encoder, logmel)
            self._add(*self._finish(record, lambda: tasks.run(task, items, ridge(), embed=self._embed)))

    def _finish(self, record: Record, compute: Callable[[], TaskResult]) -> tuple[Record, Rows]:
        """The record with the result and its rows; skipped, without rows, if the task cannot be evaluated."""
        started = time.monotonic()
        rows: Rows = ()
        try:
            result = compute()
            record, rows = record.with_result(result), result.rows
        except (ConfigError, MissingDependencyError, AudioError) as error:
            record = record.skipped(str(error))
        return changed_copy(record, seconds=round(time.monotonic() - started, 2)), rows

    def _compute(self, task: SuiteTask, base: SuiteTask, model: TestedModel) -> TaskResult:
        """The result of one model on one task. base: the task itself, or the base task of robustness."""
        if unsupported := tasks.unsupported_reason(base, model.encoder):
            raise ConfigError(unsupported)
        if task.kind in PROBES:
            features, folds = self._prepare(task, model)
            return evaluate.run_probe(task, folds, features, str(model.encoder.device))
        if task.kind in UNSUPERVISED:
            return unsupervised.run(task, self.sources[task.data], self._features_of(task, model))
        if task.kind == "robustness":
            return self._robustness(task, base, model)
        return tasks.run(task, self.sources[task.data], model.encoder, embed=self._embed)

    def _chance(self, task: SuiteTask, items: EvalItems) -> TaskResult:
        if task.kind in PROBES:
            return evaluate.run_chance(task, prepare_folds(task, items, {}, self.suite.frames))
        most_frequent = MostFrequentText(items)
        result = tasks.run(task, items, most_frequent)  # type: ignore[arg-type]
        result.notes.append(f"chance is the most frequent text of train: {most_frequent.text!r}")
        return result

    def _ridge(self, key: tuple[str, str], model: Encoder, logmel: Encoder) -> Any:
        """Ridge regression to the texts of a model, fitted once for each source. key: the source and a fingerprint."""
        if key not in self._ridges:
            self._ridges[key] = RidgeOnLogmel(model, logmel, self.sources[key[0]], self.cache)
        return self._ridges[key]

    def _robustness(self, task: SuiteTask, base: SuiteTask, model: TestedModel) -> TaskResult:
        encoder = model.encoder
        items = self.sources[base.data]
        if base.kind in PROBES:
            features, folds = self._prepare(base, model)

            def corrupted(indices: list[int], condition: Condition) -> Features:
                return extract(
                    encoder, items.subset(indices), self.cache, frames=self._frames(base.data), condition=condition
                )

            return evaluate.run_robustness(task, base, folds, features, corrupted, str(encoder.device))
        self.evaluate(base, model)  # the predictions on clean clips, if the store lacks them
        clean = self.store.get(self._new_record(base, model))
        if clean is None or clean.status != "ok":
            raise ConfigError(f"{base.name} was skipped")
        changed = {}
        notes = []
        for name in task.conditions:
            result = tasks.run(base, items, encoder, parse(name))
            changed[name] = result.rows
            notes += [f"{name}: {note}" for note in result.notes if note not in clean.notes]
        return robustness.from_rows(clean, read_rows(self.store.folder, clean), changed, notes)

    def _new_record(self, task: SuiteTask, model: TestedModel | None = None) -> Record:
        """An empty record of a model on a task. Without a model: of the chance baseline."""
        data, key = self.sources[task.data].fingerprint, self.suite.fingerprint(task)
        if model is None:
            return Record(task.name, task.kind, CHANCE, "baseline", "", data, key)
        if task.kind == "speed" and model.encoder.device.type != "cpu":
            key += f"-{model.encoder.device.type}"  # the speed on another device is another result
        return Record(task.name, task.kind, model.name, model.role, self._fingerprint(model.encoder), data, key)

    def _stored(self, record: Record) -> Record | None:
        """The stored record with the same identity, made the current one of its task. None if there is none."""
        stored = self.store.get(record)
        if stored:
            self.store.make_current(record)
        return stored

    def _add(self, record: Record, rows: Rows) -> None:
        self.store.add(record, rows)
        print_plain(self.console, table.line(record))

    def _fingerprint(self, encoder: Encoder) -> str:
        if id(encoder) not in self._fingerprints:
            self._fingerprints[id(encoder)] = encoder.fingerprint()
        return self._fingerprints[id(encoder)]

    def _prepare(self, task: SuiteTask, model: TestedModel) -> tuple[Features, list[ProbeTargets]]:
        """Features of a model for a probe, and the targets of each fold."""
        features = self._features_of(task, model)
        return features, prepare_folds(task, self.sources[task.data], features.failed, self.suite.frames)

    def _features_of(self, task: SuiteTask, model: TestedModel) -> Features:
        """Features of a model, of all clips of a source. All tasks on the source share them."""
        key, items = (task.data, self._fingerprint(model.encoder)), self.sources[task.data]
        if key not in self._features:
            message = one_line(f"{model.name}: reading {len(items.items)} clips of {task.data}")
            total = sum(item.entry.duration for item in items.items)
            frames = self._frames(task.data)
            print_plain(self.console, message)
            with Progress(console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
                reading = bar.add_task("", total=total)
                self._features[key] = extract(
                    model.encoder,
                    items,
                    self.cache,
                    frames=frames,
                    advance=lambda seconds: bar.advance(reading, seconds),
                )
        return self._features[key]

    def _frames(self, source: str) -> int:
        """Number of time points per clip of a source. 0 without tasks on phones."""
        has_phones = any(task.kind == "phones" and task.data == source for task in self.suite.tasks)
        return self.suite.frames if has_phones else 0
