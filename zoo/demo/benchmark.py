"""Two small benchmarks: linear probes beside their baselines, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from zoo.benchmarks import runner
from zoo.benchmarks.results import Store
from zoo.benchmarks.suite import Suite, SuiteSource, SuiteTask
from zoo.data.sources import parse
from zoo.demo.clips import DemoClip, write_folds

COMMAND = "zoo bench run -m hubert -m mulan -m whisper --suite mini --out bench"
"""The larger benchmark."""
FRAMES = 6
"""Moments of each clip whose phone is predicted."""


@dataclass(frozen=True)
class ScoreRow:
    """The score of one model, with its interval at 95 %. role: "model" or "baseline"."""

    model: str
    role: str
    score: float
    low: float
    high: float


@dataclass(frozen=True)
class ScoreTable:
    """One task. examples: how many were predicted; unit, group: what an example and a group is, in the plural."""

    title: str
    unit: str
    group: str
    examples: int
    groups: int
    rows: list[ScoreRow]


def evaluate_phones(clips: Sequence[DemoClip], folder: Path) -> ScoreTable:
    """Which phone is spoken at a moment, by a linear probe on HuBERT."""
    task = SuiteTask(name="phones", data="clips", kind="phones", seeds=1)
    store = _run("hubert", task, clips, folder / "phones")
    return _table("Which phone is spoken?", "moments", "voices", store)


def evaluate_instruments(clips: Sequence[DemoClip], folder: Path) -> ScoreTable:
    """The family of the leading instrument, by a linear probe on MuLan."""
    task = SuiteTask(name="instrument", data="clips", kind="class", target="family", seeds=2)
    store = _run("mulan", task, clips, folder / "instruments")
    return _table("Which instrument family leads?", "clips", "pieces", store)


def _run(model: str, task: SuiteTask, clips: Sequence[DemoClip], folder: Path) -> Store:
    """Evaluate a model and its baselines on one task, each fold in turn."""
    folder.mkdir(parents=True)
    manifest = write_folds(clips, folder / "manifest.jsonl")
    source = SuiteSource(parse(str(manifest)), folds="fold")
    suite = Suite(name="demo", frames=FRAMES, data={"clips": source}, tasks=[task])
    return runner.run([model], suite, folder / "results", console=Console(quiet=True))


def _table(title: str, unit: str, group: str, store: Store) -> ScoreTable:
    scored = [record for record in store.records.values() if record.score is not None]
    rows = []
    for record in scored:
        rows.append(
            ScoreRow(record.model, record.role, _number(record.score), _number(record.low), _number(record.high))
        )
    return ScoreTable(title, unit, group, scored[0].test_items, scored[0].groups, rows)


def _number(value: float | None) -> float:
    """A score; those of records with one are all known."""
    return math.nan if value is None else value
