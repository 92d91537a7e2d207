"""Tables in pages: generated from results, and up to date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_compare import write
from typer.testing import CliRunner

from zoo.benchmarks import published, table
from zoo.benchmarks.compare import compare
from zoo.benchmarks.results import Store, read_results
from zoo.cli.bench import app
from zoo.errors import ConfigError

TOP = Path(__file__).resolve().parents[2]
PAGES = [TOP / "README.md", *sorted((TOP / "recipes").glob("*/README.md")), *sorted((TOP / "benchmarks").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_pages_of_the_repository_are_up_to_date(page: Path) -> None:
    if "<!-- zoo bench table:" in page.read_text(encoding="utf-8"):
        assert published.updated(page) == page.read_text(encoding="utf-8"), f"run: zoo bench table {page}"


@pytest.mark.parametrize("path", sorted((TOP / "benchmarks" / "results").glob("*.json")), ids=lambda path: path.stem)
def test_bold_on_published_pages_follows_the_rule_for_these_results(path: Path) -> None:
    page = path.with_suffix(".md").read_text(encoding="utf-8")
    results = read_results(path)
    whole = table.markdown(results).splitlines()
    first = whole.index(next(line for line in whole if line.startswith("| |")))
    rows = whole[first : whole.index("", first)]
    assert table.legend(results) in page
    assert "<!-- zoo bench table" in page or "\n".join(rows) in page


def results(folder: Path) -> Path:
    """Two models in one folder. The second one is significantly worse."""
    write(folder, "good", 0.8, 0)
    write(folder, "poor", 0.5, 1)
    (comparison,) = compare([folder])
    Store(folder, "suite").set_ranks({"task": comparison.ranks_by_model()}, {"task": comparison.best()})
    return folder / "results.json"


def test_table_comes_from_the_results_and_only_the_block_changes(tmp_path: Path) -> None:
    results(tmp_path / "r")
    page = tmp_path / "page.md"
    page.write_text("before\n\n<!-- zoo bench table: r/results.json -->\nold\n<!-- end of table -->\n\nafter\n")
    runner = CliRunner()
    assert runner.invoke(app, ["table", str(page), "--check"]).exit_code != 0 and "old" in page.read_text()
    assert runner.invoke(app, ["table", str(page)]).exit_code == 0
    text = page.read_text()
    assert text.startswith("before\n\n<!-- zoo bench table: r/results.json -->\n| | good | poor |")
    assert text.endswith("|\n<!-- end of table -->\n\nafter\n") and "old" not in text
    row = next(line for line in text.splitlines() if line.startswith("| task (accuracy)"))
    assert re.search(r"\| \*\*0\.7\d+\*\*<br>", row) and re.search(r"\| 0\.4\d+<br>", row), "only the best is bold"
    assert runner.invoke(app, ["table", str(page), "--check"]).exit_code == 0
    before = text
    assert runner.invoke(app, ["table", str(page)]).exit_code == 0 and page.read_text() == before


def test_invalid_blocks_are_named(tmp_path: Path) -> None:
    results(tmp_path / "r")
    page = tmp_path / "page.md"
    for block, message in (
        ("no block", "holds no"),
        ("<!-- zoo bench table: r/results.json; tasks: task; other -->\n<!-- end of table -->", "no task 'other'"),
        ("<!-- zoo bench table: r/results.json; tasks: task; models: x -->\n<!-- end of table -->", "no model 'x'"),
        ("<!-- zoo bench table: nowhere.json -->\n<!-- end of table -->", "no such file"),
    ):
        page.write_text(block)
        with pytest.raises(ConfigError, match=message):
            published.updated(page)
        assert page.read_text() == block


def test_results_without_predictions_have_no_paired_test(tmp_path: Path) -> None:
    results(tmp_path / "r")
    for file in (tmp_path / "r" / "predictions").iterdir():
        file.unlink()
    (comparison,) = compare([tmp_path / "r"])
    assert comparison.ranks is None and "the predictions of good, poor are missing" in comparison.notes[0]
