"""Two small benchmarks: linear probes beside their baselines, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from zoo.benchmarks import runner
from zoo.benchmarks.suite import Source, Suite, Task
from zoo.demo.clips import Clip, write_folds

COMMAND = "zoo bench run -m hubert -m mulan -m whisper --suite mini --out bench"
"""The larger benchmark."""


@dataclass(frozen=True)
class Row:
    """The score of one model, with its interval at 95 %. role: "model" or "baseline"."""

    model: str
    role: str
    score: float
    low: float
    high: float


@dataclass(frozen=True)
class Table:
    """One task. clips, groups: how many were predicted; group: what a group is."""

    title: str
    group: str
    clips: int
    groups: int
    rows: list[Row]


def evaluate_words(clips: Sequence[Clip], folder: Path) -> Table:
    """Which word is spoken, by a linear probe on HuBERT."""
    return _evaluate("hubert", "Which word is spoken?", "voices", clips, "label", folder / "words")


def evaluate_instruments(clips: Sequence[Clip], folder: Path) -> Table:
    """The family of the leading instrument, by a linear probe on MuLan."""
    return _evaluate("mulan", "Which instrument family leads?", "pieces", clips, "family", folder / "instruments")


def _evaluate(model: str, title: str, group: str, clips: Sequence[Clip], column: str, folder: Path) -> Table:
    folder.mkdir(parents=True)
    source = Source(str(write_folds(clips, folder / "manifest.jsonl")), folds="fold")
    task = Task(name=column, data="clips", kind="class", target=column, seeds=2)
    suite = Suite(name="demo", data={"clips": source}, tasks=[task])
    store = runner.run([model], suite, folder / "results", console=Console(quiet=True))
    rows = []
    for record in store.records.values():
        if record.score is not None and record.low is not None and record.high is not None:
            rows.append(Row(record.subject, record.role, record.score, record.low, record.high))
    counted = next(record for record in store.records.values() if record.score is not None)
    return Table(title, group, counted.test_items, counted.groups, rows)
