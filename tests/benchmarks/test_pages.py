"""Results of several runs merged: nothing mixed, nothing lost, each with the run that computed it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_compare import write
from typer.testing import CliRunner

from zoo.benchmarks import pages, table
from zoo.benchmarks.results import Record, Store, read_results
from zoo.cli.bench import app
from zoo.errors import ConfigError, ZooError


def test_several_folders_become_one_dated_result(tmp_path: Path) -> None:
    folders = [write(tmp_path / n, n, a, s) for s, (n, a) in enumerate([("good", 0.8), ("poor", 0.5)])]
    stem = tmp_path / "published" / "suite-2026-11-22"
    done = CliRunner().invoke(app, ["publish", *map(str, folders), "--as", str(stem), "--note", "Run *once*."])
    assert done.exit_code == 0, done.output
    results = read_results(stem.with_name(f"{stem.name}.json"), "suite")
    assert [r.model for r in results.records] == ["good", "poor"] and results.ranks == {"task": {"good": 1, "poor": 2}}
    assert all(not r.predictions and r.run == 0 for r in results.records), "one day, one machine: one run"
    text = stem.with_name(f"{stem.name}.md").read_text()
    assert text.startswith("# suite\n\nRun *once*.\n\nComputed by\n\n- `")
    assert "| | good | poor |" in text and "**0." in text and "commit" in text
    assert "<table>" in stem.with_name(f"{stem.name}.html").read_text()
    assert sorted(path.name for path in stem.parent.iterdir()) == [
        f"{stem.name}.{kind}" for kind in ("html", "json", "md")
    ]


def test_first_folder_counts_if_two_hold_the_same_result(tmp_path: Path) -> None:
    folders = [write(tmp_path / n, "same", a, 1) for n, a in (("a", 0.8), ("b", 0.5))]
    remarks = pages.publish(folders, tmp_path / "all")
    first, second = (read_results(folder / "results.json").records[0].score for folder in folders)
    (record,) = read_results(tmp_path / "all.json").records
    assert record.score == first != second and "a counts, not " in remarks[0]


def test_two_models_of_one_name_have_separate_ranks(tmp_path: Path) -> None:
    folders = [write(tmp_path / n, "last", a, 1, fingerprint=m) for n, a, m in (("a", 0.8, "good"), ("b", 0.5, "poor"))]
    pages.publish(folders, tmp_path / "all")
    assert read_results(tmp_path / "all.json").ranks == {"task": {"last (good)": 1, "last (poor)": 2}}
    assert "**0." in (tmp_path / "all.md").read_text() and "<b>0." in (tmp_path / "all.html").read_text()


def test_results_that_cannot_be_merged_are_refused(tmp_path: Path) -> None:
    first, other = write(tmp_path / "a", "x", 0.8, 1), write(tmp_path / "b", "y", 0.8, 1, data="corrected")
    with pytest.raises(ConfigError, match="task has other data"):
        pages.publish([first, other], tmp_path / "all")
    with pytest.raises(ZooError, match="zoo bench run"):
        pages.publish([first, tmp_path], tmp_path / "all")
    content = json.loads((other / "results.json").read_text()) | {"suite": "another"}
    (other / "results.json").write_text(json.dumps(content))
    with pytest.raises(ZooError, match="another"):
        pages.publish([first, other], tmp_path / "all")
    assert not list(tmp_path.glob("all.*"))


def test_every_run_is_listed_once_with_its_command(tmp_path: Path) -> None:
    for command, model in (("zoo bench run -m a", "a"), ("zoo bench run -m b", "b"), ("zoo bench run -m a", "c")):
        store = Store(tmp_path, "suite", command)
        store.add(Record("task", "class", model, "model", model, "d", "k", metric="accuracy", score=0.5))
    assert [r.run for r in read_results(tmp_path / "results.json").records] == [0, 1, 0]
    pages.write(store)
    text = (tmp_path / "results.md").read_text()
    assert text.count("- `zoo bench run -m a` (commit") == 1 and "- `zoo bench run -m b` (commit" in text
    assert "zoo bench run -m b (commit" in (tmp_path / "report.html").read_text()


def test_a_row_never_mixes_two_models_or_two_versions_of_the_data() -> None:
    first = Record("digits", "class", "mine", "model", "aaaaaaaa", "d", "k", metric="accuracy", score=0.5)
    other = replace(first, task="words", fingerprint="bbbbbbbb")
    assert [r.model for r in table.latest([first, other])] == ["mine (aaaaaa)", "mine (bbbbbb)"]
    outdated = replace(first, model="yours", fingerprint="cccccccc", data="before the labels were corrected")
    shown = table.latest([outdated, first])
    assert [r.model for r in shown] == ["mine"], "side by side they would look comparable"
