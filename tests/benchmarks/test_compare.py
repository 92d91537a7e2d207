"""Comparison of results: paired on the same items, with ties for differences that are not significant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zoo.benchmarks import compare, differences, pages, table
from zoo.benchmarks.item_scores import pseudo_values
from zoo.benchmarks.metrics import METRICS
from zoo.benchmarks.results import Record, Results, Store, read_results
from zoo.benchmarks.significance import holm
from zoo.errors import ConfigError, ZooError


def write(
    folder: Path, model: str, accuracy: float, seed: int, data: str = "d", items: int = 300, fingerprint: str = ""
) -> Path:
    """A folder with results of one model with this accuracy. Hard items are hard for all models."""
    folder.mkdir(exist_ok=True)
    hard = np.random.default_rng(0).random(items)
    right = hard + 0.1 * np.random.default_rng(seed).normal(size=items) < accuracy
    score = float(right.mean())
    record = Record("task", "class", model, "model", fingerprint or model, data, "k", metric="accuracy", score=score)
    rows = [
        {"item": f"i{n}", "group": f"g{n % 60}", "truth": "a", "predicted": ["a" if ok else "b"]}
        for n, ok in enumerate(right)
    ]
    Store(folder, "suite").add(record, rows)
    return folder


def test_ties_share_a_rank_and_the_worse_one_does_not(tmp_path: Path) -> None:
    folders = [write(tmp_path / n, n, a, s) for s, (n, a) in enumerate([("fair", 0.8), ("poor", 0.5), ("same", 0.805)])]
    (comparison,) = compare.compare(folders)
    ranks = {m.record.model: r for m, r in zip(comparison.models, comparison.ranks or [], strict=True)}
    assert ranks == {"fair": 1, "same": 1, "poor": 3}
    assert comparison.models[-1].record.model == "poor"
    i, j, difference, mcnemar = comparison.pairs[-1]
    assert difference.difference == pytest.approx(
        (comparison.models[i].record.score or 0) - (comparison.models[j].record.score or 0)
    )
    assert difference.interval.low > 0 and difference.p < 0.001
    assert mcnemar is not None and mcnemar < 0.001
    page = differences.markdown([comparison])
    assert page.index("| 1 | ") < page.index("| 3 | poor")
    last = next(line for line in page.splitlines() if line.startswith("| 3 | poor"))
    to_best = comparison.models[-1].record.score - comparison.models[0].record.score  # type: ignore[operator]
    assert f"| {to_best:+.3f} (-0." in last and last.endswith(" | < 0.001 | < 0.001 | < 0.001 |")


def write_scores(folder: Path, model: str, by_group: list[float]) -> None:
    """Results of one model with this share of right predictions in each group of ten items."""
    rows = []
    for group, share in enumerate(by_group):
        for n in range(10):
            predicted = ["a" if n < 10 * share else "b"]
            rows.append({"item": f"{group}-{n}", "group": f"g{group}", "truth": "a", "predicted": predicted})
    score = float(np.mean(by_group))
    record = Record("task", "class", model, "model", model, "d", "k", metric="accuracy", score=score)
    Store(folder, "suite").add(record, rows)


def test_bold_is_not_significantly_worse_than_the_best_and_ranks_follow_the_scores(tmp_path: Path) -> None:
    write_scores(tmp_path, "best", [0.9] * 20)
    write_scores(tmp_path, "steady", [0.8] * 20)  # always a bit worse: significant
    write_scores(tmp_path, "wild", [1.0] * 15 + [0.0] * 5)  # worse on average, by a few groups: not significant
    write_scores(tmp_path, "bad", [0.1] * 20)
    (comparison,) = compare.compare([tmp_path])
    assert [model.record.model for model in comparison.models] == ["best", "steady", "wild", "bad"]
    assert comparison.best() == ["best", "wild"] and comparison.ranks == [1, 2, 2, 4]
    single = {j: each.p for i, j, each, _ in comparison.pairs if i == 0}
    assert comparison.p_to_best == [1.0, *holm([single[1], single[2], single[3]])]
    pages.write(Store(tmp_path, "suite"))
    assert read_results(tmp_path / "results.json").bold([]) == {"task": ["best", "wild"]}
    row = next(line for line in (tmp_path / "results.md").read_text().splitlines() if line.startswith("| task"))
    assert row.count("**") == 4 and "**0.900**" in row and "**0.750**" in row
    assert (tmp_path / "report.html").read_text().count("<b>0.") == 2
    head, _, *lines = [line for line in differences.markdown([comparison]).splitlines() if line.startswith("|")]
    assert "| p | corrected p |" in head and f"| {single[2]:.3f} | {comparison.p_to_best[2]:.3f} |" in lines[2]


def older(task: str, model: str, score: float, low: float | None, high: float | None, lower: bool = False) -> Record:
    record = Record(task, "class", model, "model", model, "d", "k", metric="accuracy", score=score, low=low, high=high)
    return replace(record, lower_is_better=lower)


def test_bold_in_results_without_tests_is_the_best_and_each_interval_that_holds_it() -> None:
    records = [
        older("task", "good", 0.9, 0.8, 0.95),
        older("task", "wide", 0.5, 0.1, 0.91),
        older("task", "poor", 0.8, 0.7, 0.89),
        older("errors", "good", 0.1, None, None, lower=True),
        older("errors", "wide", 0.3, 0.1, 0.5, lower=True),
        older("errors", "poor", 0.2, None, None, lower=True),
        older("tie", "good", 0.9, 0.8, 1.0),
        older("tie", "poor", 0.85, 0.7, 0.9),
        older("no test", "good", 0.9, 0.8, 1.0),
    ]
    ranks = {task: {"good": 1, "wide": 1, "poor": 1} for task in ("task", "errors", "tie")}
    results = Results("suite", records, ranks)
    assert results.bold(records) == {"task": ["good", "wide"], "errors": ["good", "wide"], "tie": []}
    without_best = [record for record in records if record.model != "good"]
    assert results.bold(without_best)["task"] == [], "only what the table shows counts: both intervals hold 0.8"
    assert "whose interval holds it" in table.markdown(results)
    tested = replace(results, best={"task": ["good"]})
    assert tested.bold(without_best)["task"] == ["good"] and "paired bootstrap" in table.markdown(tested)


def test_two_models_of_one_name_get_distinct_names_and_one_model_twice_does_not(tmp_path: Path) -> None:
    folders = [write(tmp_path / n, "last", 0.7, s, fingerprint=m) for s, (n, m) in enumerate([("a", "x"), ("b", "y")])]
    (comparison,) = compare.compare([*folders, folders[0]])
    assert {model.record.model for model in comparison.models} == {"last (a)", "last (b)"}


def test_folders_of_one_name_are_named_with_the_folders_above(tmp_path: Path) -> None:
    folders = []
    for seed, name in enumerate("xy"):
        (tmp_path / name).mkdir()
        folders.append(write(tmp_path / name / "bench", "last", 0.7, seed, fingerprint=name))
    (comparison,) = compare.compare(folders)
    assert {model.record.model for model in comparison.models} == {"last (x/bench)", "last (y/bench)"}


def test_one_model_on_other_data_is_left_out_by_name(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, "last", 0.7, 1, data) for name, data in (("a", "x"), ("b", "y")))
    write(first, "peer", 0.6, 2, "x")
    (comparison,) = compare.compare([first, second])
    assert comparison.notes == [f"left out, evaluated on other data or settings: last in {second}"]


def test_other_data_is_never_compared(tmp_path: Path) -> None:
    folders = [write(tmp_path / n, n, 0.7, 1, data) for n, data in (("a", "x"), ("b", "y"), ("c", "x"))]
    (comparison,) = compare.compare(folders)
    assert len(comparison.models) == 2 and comparison.notes == ["left out, evaluated on other data or settings: b"]
    with pytest.raises(ConfigError, match="same data"):
        compare.compare(folders[:2])
    with pytest.raises(ZooError, match="zoo bench run"):
        compare.compare([tmp_path])


def test_two_models_with_the_same_data_are_compared_if_the_first_folder_has_other_data(tmp_path: Path) -> None:
    folders = [write(tmp_path / n, n, 0.7, 1, data) for n, data in (("a", "x"), ("b", "y"), ("c", "y"))]
    (comparison,) = compare.compare(folders)
    assert {model.record.model for model in comparison.models} == {"b", "c"}
    assert comparison.notes == ["left out, evaluated on other data or settings: a"]


def test_a_task_that_cannot_be_compared_is_still_listed(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, name, 0.7, 1) for name in "ab"]
    for folder, data in zip(folders, "xy", strict=True):
        record = Record("digits", "class", folder.name, "model", folder.name, data, "k", metric="accuracy", score=0.5)
        Store(folder, "suite").add(record)
    page = differences.markdown(compare.compare(folders))
    assert "## digits" in page and "| ? | a | 0.500" in page and "other data or settings: b" in page


def test_first_folder_counts_if_two_hold_one_model(tmp_path: Path) -> None:
    folders = [write(tmp_path / n, s, a, 1) for n, s, a in (("a", "x", 0.8), ("b", "x", 0.5), ("c", "y", 0.2))]
    (comparison,) = compare.compare(folders)
    assert [model.record.model for model in comparison.models] == ["x", "y"]
    assert (comparison.models[0].record.score or 0) > 0.7


def test_predictions_that_name_an_item_twice_are_refused(tmp_path: Path) -> None:
    folders = [write(tmp_path / n, n, 0.7, 1) for n in "ab"]
    (file,) = (folders[1] / "predictions").iterdir()
    file.write_text(file.read_text().replace('"i17"', '"i18"'))
    with pytest.raises(ConfigError, match=r"task\.b\.\w+\.jsonl: item 'i18' occurs twice"):
        compare.compare(folders)


def test_scores_that_are_not_means_over_items_are_compared_by_pseudo_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((120, 3)) < 0.4).astype(float)
    shared = rng.normal(size=truth.shape)
    for name, signal in (("good", 2.0), ("same", 1.95), ("poor", 0.3)):
        scores = signal * truth + shared + 0.1 * rng.normal(size=truth.shape)
        score = METRICS["roc_auc"](scores, truth)
        record = Record("tags", "tags", name, "model", name, "d", "k", metric="roc_auc", score=score)
        rows = [
            {"item": f"i{n}", "group": f"g{n % 30}", "truth": truth[n].tolist(), "predicted": scores[n].tolist()}
            for n in range(120)
        ]
        Store(tmp_path, "suite").add(record, rows)
        values = [each.value for each in pseudo_values("roc_auc", rows).values()]
        assert len(values) == 30 and np.mean(values) == pytest.approx(score, abs=0.01)
    (comparison,) = compare.compare([tmp_path])
    assert comparison.ranks_by_model() == {"good": 1, "same": 1, "poor": 3}
    assert pseudo_values("roc_auc", rows[:2]) == {}, "two groups are too few"


def test_pseudo_values_of_classes_use_names_and_seeds() -> None:
    rows = [
        {"item": str(n), "group": f"g{n % 8}", "truth": "ab"[n % 2], "predicted": ["a", "ab"[n % 2]]} for n in range(40)
    ]
    values = [each.value for each in pseudo_values("balanced_accuracy", rows).values()]
    assert len(values) == 8 and np.mean(values) == pytest.approx(0.75, abs=0.05)
