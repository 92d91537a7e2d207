"""Cross-validation: a result on data with folds equals the results of its folds, scored together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from synthetic import tones

from zoo.benchmarks import runner, scores
from zoo.benchmarks.item_scores import read_rows
from zoo.benchmarks.results import Record
from zoo.benchmarks.suite import Suite, SuiteSource, SuiteTask, check
from zoo.data import manifest
from zoo.errors import ConfigError

FOLDS = ("a", "b", "c")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Sixty tones of fifteen speakers, in folds that share no speaker."""
    path = tones(tmp_path / "tones")
    entries = manifest.read(path)
    for entry in entries:
        entry.labels["fold"] = FOLDS[int(str(entry.speaker)[1:]) % 3]
    manifest.write(path, entries)
    return path


def pitch(**options: Any) -> SuiteTask:
    return SuiteTask("pitch", "tones", "class", "pitch", seeds=2, **options)


def evaluate(source: SuiteSource, out: Path, *tasks: SuiteTask, **options: Any) -> dict[tuple[str, str], Record]:
    suite = Suite("tones", frames=3, data={"tones": source}, tasks=list(tasks))
    options = {"baselines": False, "console": Console(quiet=True), "cache": out.parent / "cache"} | options
    store = runner.run(["logmel"], suite, out, **options)
    return {(record.task, record.model): record for record in store.records.values()}


def test_the_result_of_all_folds_equals_those_of_each(corpus: Path, tmp_path: Path) -> None:
    """Compared with three runs with explicit splits, item by item."""
    whole = evaluate(SuiteSource(str(corpus), folds="fold"), tmp_path / "whole", pitch())["pitch", "logmel"]
    rows_by_item = {row["item"]: row for row in read_rows(tmp_path / "whole", whole)}
    scores = {}
    for test, dev in zip(FOLDS, "bca", strict=True):
        source = SuiteSource(str(corpus), split_by="fold", dev=[dev], test=[test])
        record = evaluate(source, tmp_path / test, pitch())["pitch", "logmel"]
        rows = read_rows(tmp_path / test, record)
        assert rows == [rows_by_item.pop(row["item"]) for row in rows]
        chosen = {"layer": record.layer, "penalty": record.penalty, "score": record.score}
        assert whole.details["folds"][test] == chosen
        scores[test] = (record.score or 0.0) * record.test_items
    assert not rows_by_item and whole.test_items == 60 and whole.groups == 15
    assert whole.score == pytest.approx(sum(scores.values()) / 60) and (whole.score or 0) > 0.9
    assert whole.low is not None and whole.high is not None and whole.low <= (whole.score or 0) <= whole.high


def test_every_kind_of_probe_takes_folds(corpus: Path, tmp_path: Path) -> None:
    tasks = [
        pitch(),
        pitch(layers="weighted"),
        SuiteTask("height", "tones", "value", "height", seeds=2),
        SuiteTask("phones", "tones", "phones", seeds=2),
        SuiteTask("pitch, changed", kind="robustness", of="pitch", conditions=["white 60", "white -20"]),
        SuiteTask("height, changed", kind="robustness", of="height", conditions=["white -20"]),
    ]
    tasks[1].name = "pitch, weighted"
    records = evaluate(SuiteSource(str(corpus), folds="fold"), tmp_path / "out", *tasks, baselines=True)
    assert all(record.status == "ok" for record in records.values())
    for task in ("pitch", "pitch, weighted", "phones", "height"):
        assert (records[task, "logmel"].score or 0) > 0.7 > (records[task, "chance"].score or 0)
    changed = records["pitch, changed", "logmel"]
    assert changed.details["clean"] == pytest.approx(records["pitch", "logmel"].score)
    assert changed.details["conditions"]["white 60"]["change"] == 0 and changed.test_items == 60
    assert changed.details["conditions"]["white -20"]["change"] < -0.2
    assert (records["height, changed", "logmel"].score or 0) < -0.2


def test_a_class_that_a_fold_lacks_keeps_its_index(corpus: Path, tmp_path: Path) -> None:
    """Class "alone" is in one fold only, so the train split of that fold does not have it."""
    entries = manifest.read(corpus)
    high = [entry for entry in entries if entry.labels["fold"] == "b" and entry.labels["pitch"] == "high"]
    for entry in high[:3]:
        entry.labels["pitch"] = "alone"
    manifest.write(corpus, entries)
    record = evaluate(SuiteSource(str(corpus), folds="fold"), tmp_path / "out", pitch())["pitch", "logmel"]
    rows = read_rows(tmp_path / "out", record)
    assert {row["truth"] for row in rows} == {"high", "low"} and record.details["classes"] == ["alone", "high", "low"]
    low = [row for row in rows if row["truth"] == "low"]
    assert sum(row["predicted"] == ["low", "low"] for row in low) > 0.9 * len(low)
    assert any("because train does not have their classes (alone)" in note for note in record.notes)


def test_the_table_shows_that_folds_chose_different_layers(corpus: Path, tmp_path: Path) -> None:
    record = evaluate(SuiteSource(str(corpus), folds="fold"), tmp_path / "out", pitch())["pitch", "logmel"]
    assert "layer" not in scores.cell(record), "log-mel has one layer"
    record.details["folds"]["a"]["layer"] = 3
    assert scores.cell(record).endswith("mostly layer 0")


def test_a_fold_that_cannot_be_tested_is_named(corpus: Path, tmp_path: Path) -> None:
    entries = manifest.read(corpus)
    for entry in entries:
        if entry.labels["fold"] == "b":
            entry.labels["pitch"] = "high"
    manifest.write(corpus, entries)
    record = evaluate(SuiteSource(str(corpus), folds="fold"), tmp_path / "out", pitch())["pitch", "logmel"]
    assert record.status == "skipped" and record.reason == "fold a: the dev split has one class only: high"


def test_tags_need_a_source_without_folds() -> None:
    suite = Suite(data={"d": SuiteSource("x", folds="fold")}, tasks=[SuiteTask("a", "d", "tags", columns=["pitch"])])
    with pytest.raises(ConfigError, match="mine: task 'a': tags need a source without folds"):
        check(suite, "mine")
