"""Scores of single classes and confusions: in results.json, results.md and report.html."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from test_report import EVIL, Page, record
from tone_tasks import evaluate, only

from zoo.benchmarks import confusion, details, table
from zoo.benchmarks.confusion import Pair, class_details
from zoo.benchmarks.report import Report
from zoo.benchmarks.results import Results
from zoo.benchmarks.suite import SuiteTask

NAMES = ["dog", "cat", "owl", "yak"]


def test_scores_of_classes_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=60)  # no yak in test
    predicted = np.where(rng.random((2, 60)) < 0.6, truth, rng.integers(4, size=(2, 60)))
    found = class_details(NAMES, truth, predicted)
    both = np.concatenate([truth, truth]), predicted.ravel()
    matrix = confusion_matrix(*both, labels=range(4))
    precision, recall, f1, items = precision_recall_fscore_support(*both, labels=range(4), zero_division=0)
    for index, name in enumerate(NAMES):
        scores = found["by class"][name]
        assert scores["items"] == items[index] // 2 and scores["precision"] == pytest.approx(precision[index], abs=1e-4)
        assert scores["f1"] == pytest.approx(f1[index], abs=1e-4)
        assert scores["recall"] == (pytest.approx(recall[index], abs=1e-4) if name != "yak" else None)
    rows = [[found["confusion"][name].get(other, 0) for other in NAMES] for name in NAMES[:3]]
    assert rows == matrix[:3].tolist() and "yak" not in found["confusion"]
    assert all(count for counts in found["confusion"].values() for count in counts.values())
    assert class_details([str(n) for n in range(201)], truth, predicted) == {}, "too many classes to list"


def animals(**values: object) -> object:
    truth, predicted = (
        np.array([0, 0, 0, 0, 1, 1, 2, 2]),
        np.array([[0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1, 2]]),
    )
    return record("animals", "hubert", details=class_details(NAMES[:3], truth, predicted), **values)


def test_the_worst_classes_and_pairs_are_in_the_table() -> None:
    shown = animals()
    assert confusion.lowest_recalls(shown) == [("owl", 0.25), ("dog", 0.625), ("cat", 1.0)]
    assert confusion.pairs(shown) == [Pair("owl", "cat", 0.75), Pair("dog", "cat", 0.375)]
    sheet = details.class_sheet([shown, replace(shown, model="mfcc", role="baseline")])
    assert sheet.rows == [["hubert, animals", "owl 0.25; dog 0.62; cat 1.00", "owl as cat 75%; dog as cat 38%"]]
    assert details.class_sheet([replace(shown, kind="a kind from outside")]).rows == sheet.rows
    assert "| hubert, animals | owl 0.25; dog 0.62" in table.markdown(Results("s", [shown]))


def test_the_report_has_a_heat_map_and_scores_of_classes() -> None:
    text = Report("Results", [animals()], []).page()
    page = Page(text)
    assert text.count('class="heat right"') == 3 and text.count('class="heat"') == 6
    assert '<td class="heat right" style="--heat: 0.62">62</td>' in text and "--heat: 0.75" in text
    assert "Class by class" in page.text and "0.25" in page.text and "summary" in page.tags
    assert "Class by class" not in Report("Results", [record("a", "m")], []).page()


def test_many_classes_give_a_list_of_pairs_and_names_cannot_break_the_page() -> None:
    names = [f"{EVIL} {n}" for n in range(25)]
    truth = np.arange(25)
    mixed = class_details(names, truth, np.roll(truth, 1)[None])
    perfect = class_details(names, truth, truth[None])
    text = Report("Results", [record("a", "m", details=mixed), record("a", "n", details=perfect)], []).page()
    page = Page(text)
    assert text.count('class="heat"') == 20 and "No class is confused." in page.text
    assert "script" not in page.tags and names[3] in page.text


def test_a_run_stores_scores_of_classes(corpus: Path, tmp_path: Path) -> None:
    store = evaluate(corpus, tmp_path, SuiteTask("pitch", kind="class", target="pitch"))
    found = only(store).details
    assert set(found["by class"]) == set(found["classes"]) == {"high", "low"}
    total = sum(scores["items"] for scores in found["by class"].values())
    right = sum(found["confusion"][name].get(name, 0) for name in found["confusion"])
    assert total == only(store).test_items and right / 2 / total == pytest.approx(only(store).score), "two seeds"
    assert json.loads((tmp_path / "results.json").read_text())["records"][0]["details"] == found
    assert "Class by class" in (tmp_path / "report.html").read_text()
