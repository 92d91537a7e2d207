"""Metrics and kinds of tasks from outside: they get intervals, baselines and paired tests as all others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score
from tone_tasks import evaluate, only

from zoo import benchmarks
from zoo.benchmarks import kinds, metrics, runner, suite
from zoo.benchmarks.compare import compare
from zoo.benchmarks.evaluated import embed_items, result_row
from zoo.benchmarks.evaluated import test_items as items_of_test
from zoo.benchmarks.item_scores import read_rows
from zoo.benchmarks.items import value_of
from zoo.benchmarks.suite import SuiteTask
from zoo.errors import ConfigError


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(kinds, "ADDED", added := {})
    monkeypatch.setattr(runner, "ADDED", added)
    monkeypatch.setattr("zoo.benchmarks.tasks.ADDED", added)
    names, shares = {kind: list(each) for kind, each in metrics.OF_KIND.items()}, set(metrics.SHARES)
    known = dict(metrics.METRICS)
    yield
    metrics.OF_KIND.update(names)
    metrics.SHARES.intersection_update(shares)
    for name in set(metrics.METRICS) - set(known):
        del metrics.METRICS[name]


def macro_f1(predicted: np.ndarray, truth: np.ndarray) -> float:
    return f1_score(truth, predicted, average="macro", zero_division=0)


def nearest(notes: list[str], task: SuiteTask, items: Any, encoder: Any) -> list[dict[str, Any]]:
    """1 for each test clip whose nearest clip of train has its label."""
    selected = [items.items[index] for index in items.select(task)]
    clips, vectors = embed_items(notes, selected, encoder)
    train = [index for index, clip in enumerate(clips) if clip.entry.split == "train"]
    rows = []
    for index, clip in enumerate(clips):
        if clip.entry.split == "test":
            distances = (vectors[train] - vectors[index]).square().sum(1)
            found = value_of(clips[train[int(distances.argmin())]].entry, task.target)
            truth = value_of(clip.entry, task.target)
            rows.append(result_row(clip, found == truth, truth=truth, predicted=found))
    return rows


def test_a_metric_from_outside_has_an_interval_and_paired_tests(corpus: Path, tmp_path: Path) -> None:
    benchmarks.register_metric("macro_f1", macro_f1, kinds=["class", "phones"], share=True)
    task = SuiteTask("pitch", kind="class", target="pitch", metric="macro_f1")
    store = evaluate(corpus, tmp_path / "out", task, models=["logmel", "mfcc"])
    for record in store.records.values():
        rows = read_rows(store.folder, record)
        truth = [row["truth"] for row in rows]
        seeds = [f1_score(truth, [row["predicted"][seed] for row in rows], average="macro") for seed in range(2)]
        assert record.metric == "macro_f1" and record.score == pytest.approx(np.mean(seeds))
        assert record.low is not None and record.low <= np.mean(seeds) <= (record.high or 0)
    (comparison,) = compare([store.folder])
    assert comparison.ranks is not None and comparison.notes[:1] != ["no paired test: macro_f1"]
    chance = evaluate(corpus, tmp_path / "chance", task, models=[], baselines=True)
    assert {record.model for record in chance.records.values()} == {"mfcc", "logmel", "chance"}


def test_a_kind_from_outside_has_an_interval_baselines_and_paired_tests(corpus: Path, tmp_path: Path) -> None:
    benchmarks.register_task_kind("nearest", nearest, metric="accuracy of the nearest")
    task = SuiteTask("pitch", kind="nearest", target="pitch", options={"any": "1"})
    store = evaluate(corpus, tmp_path / "out", task, models=["logmel"], baselines=True)
    records = {record.model: record for record in store.records.values()}
    assert set(records) == {"logmel", "mfcc"} and records["logmel"].groups == 3
    rows = read_rows(store.folder, records["logmel"])
    assert records["logmel"].score == pytest.approx(np.mean([row["value"] for row in rows])) and len(rows) == 12
    assert (records["logmel"].score or 0) > 0.9 and (records["logmel"].low or 1) < (records["logmel"].high or 0)
    (comparison,) = compare([store.folder])
    assert comparison.ranks is not None
    assert "pitch (accuracy of the nearest)" in (store.folder / "results.md").read_text()


def test_a_kind_from_outside_may_return_details_and_add_notes(corpus: Path, tmp_path: Path) -> None:
    def counted(notes: list[str], task: SuiteTask, items: Any, encoder: Any) -> Any:
        notes.append("counted by hand")
        return nearest(notes, task, items, encoder), {"by hand": 3}

    benchmarks.register_task_kind("counted", counted, metric="accuracy of the nearest")
    record = only(evaluate(corpus, tmp_path / "out", SuiteTask("pitch", kind="counted", target="pitch")))
    assert record.details == {"by hand": 3} and record.notes == ["counted by hand"]


def test_what_a_kind_from_outside_may_return(corpus: Path, tmp_path: Path) -> None:
    def evaluated(name: str, rows: Any) -> Any:
        benchmarks.register_task_kind(name, rows, metric="seconds", lower_is_better=True)
        return only(evaluate(corpus, tmp_path / name, SuiteTask("t", kind=name)))

    longest = evaluated(
        "long",
        lambda notes, task, items, encoder: [
            result_row(item, 3 * item.entry.duration, 2) for item in items_of_test(task, items)
        ],
    )
    assert longest.status == "ok" and longest.lower_is_better and 0 < (longest.low or 0) < (longest.high or 0)
    assert "no clips" in evaluated("none", lambda *_: []).reason
    assert "lacks item" in evaluated("bare", lambda *_: [{"value": 1.0}]).reason
    assert "weights" in evaluated("light", lambda r, t, items, e: [result_row(items.items[0], 1.0, 0.0)]).reason
    benchmarks.register_task_kind("odd", nearest, metric="m", unsupported=lambda encoder: f"{encoder.name} is odd")
    assert only(evaluate(corpus, tmp_path / "odd", SuiteTask("t", kind="odd"))).reason == "logmel is odd"


@pytest.mark.parametrize("name", ["accuracy", ""])
def test_names_of_this_package_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="taken or empty"):
        benchmarks.register_metric(name, macro_f1)
    with pytest.raises(ConfigError, match="taken or empty"):
        benchmarks.register_task_kind(name and "class", nearest, metric="m")
    with pytest.raises(ConfigError, match="'wer' has no metrics"):
        benchmarks.register_metric("f1", macro_f1, kinds=["wer"])


def test_a_metric_can_be_registered_again_and_must_give_numbers(corpus: Path, tmp_path: Path) -> None:
    benchmarks.register_metric("f1", macro_f1, kinds=["class", "value"], share=True)
    benchmarks.register_metric("f1", lambda predicted, truth: "good")  # type: ignore[arg-type,return-value]
    assert metrics.OF_KIND["class"].count("f1") == 1 and "f1" not in metrics.OF_KIND["value"]
    assert "f1" not in metrics.SHARES
    record = only(evaluate(corpus, tmp_path / "out", SuiteTask("t", kind="class", target="pitch", metric="f1")))
    assert record.reason == "metric 'f1' gave 'good', but a number is needed"


def test_unknown_metrics_and_kinds_tell_how_to_add_them() -> None:
    data = {"d": suite.SuiteSource("corpus:speech/tiny")}
    for task, hint in (
        (SuiteTask("a", "d", "class", "x", metric="f1"), "register_metric"),
        (SuiteTask("a", "d", "nearest"), "register_task_kind"),
    ):
        with pytest.raises(ConfigError, match=hint):
            suite.check(suite.Suite(data=data, tasks=[task]), "mine")
