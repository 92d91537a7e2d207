"""The suite that evaluates a trained MuLan: retrieval in both directions, zero-shot classes, and probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from zoo.benchmarks.suite import Suite, SuiteTask
from zoo.data.manifest import Entry
from zoo.data.sources import text_of
from zoo.recipes.evaluation import EvaluationClips, write_suite
from zoo.recipes.mulan.config import MulanTrainConfig
from zoo.recipes.mulan.texts import Texts

CLIPS = "clips"


def write_mulan_suite(config: MulanTrainConfig, entries: Sequence[Entry], texts: Texts) -> Suite:
    """The suite of a run. It has tasks for the label columns of test clips; the captions of a clip are its texts."""
    settings = config.evaluation
    test = [entry for entry in entries if entry.split == "test"]
    same = settings.same if has_column(test, settings.same) else ""
    group = settings.group if has_column(entries, settings.group) else ""
    tasks = [
        SuiteTask("text to music", CLIPS, "retrieval", same or ""),
        SuiteTask("music to text", CLIPS, "retrieval", same or "", queries="audio"),
    ]
    for zero_shot in settings.zero_shot:
        if has_column(test, zero_shot.column):
            name = f"zero-shot {zero_shot.column}"
            tasks.append(SuiteTask(name, CLIPS, "zero_shot", zero_shot.column, templates=zero_shot.templates))
    for column in settings.probes:
        if has_column(test, column):
            tasks.append(SuiteTask(f"probe {column}", CLIPS, "class", column, pooling="mean"))
    captioned = [replace(entry, captions=_texts_in_order(entry, texts)) for entry in entries]
    clips = EvaluationClips(captioned, {"train": settings.train_clips}, group or "")
    source = text_of(config.data.sources)
    about = f"{config.name}: trained on {source}, {config.train.steps} steps, {config.loss.value} loss"
    return write_suite(Path(config.out), about, {CLIPS: clips}, tasks)


def has_column(entries: Sequence[Entry], column: str | None) -> bool:
    """Whether an entry has a value in this label column."""
    return any(entry.labels.get(column or "") is not None for entry in entries)


def _texts_in_order(entry: Entry, texts: Texts) -> list[str]:
    """All texts of a clip. The first one is the query of retrieval."""
    first = texts.first(entry)
    others = [text for of_kind in texts.of(entry).values() for text in of_kind]
    if first in others:
        others.remove(first)
    return [first, *others]
