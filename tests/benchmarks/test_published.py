"""Tables in pages: made from results alone, and in step with them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_compare import write
from typer.testing import CliRunner

from zoo.benchmarks import published
from zoo.benchmarks.compare import compare
from zoo.benchmarks.results import Store
from zoo.cli.bench import app
from zoo.errors import ConfigError

TOP = Path(__file__).resolve().parents[2]
PAGES = [TOP / "README.md", *sorted((TOP / "recipes").glob("*/README.md")), *sorted((TOP / "benchmarks").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_pages_of_the_repository_are_in_step(page: Path) -> None:
    if "<!-- zoo bench table:" in page.read_text(encoding="utf-8"):
        assert published.updated(page) == page.read_text(encoding="utf-8"), f"run: zoo bench table {page}"


def results(folder: Path) -> Path:
    """Two subjects in one folder, the second of them significantly worse."""
    write(folder, "good", 0.8, 0)
    write(folder, "poor", 0.5, 1)
    (contest,) = compare([folder])
    Store(folder, "suite").rank({"task": contest.rank_of()})
    return folder / "results.json"


def test_a_table_is_made_from_the_results_and_only_the_block_changes(tmp_path: Path) -> None:
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
    assert re.search(r"\| \*\*0\.7\d+\*\*<br>", row) and re.search(r"\| 0\.4\d+<br>", row), "the best alone is bold"
    assert runner.invoke(app, ["table", str(page), "--check"]).exit_code == 0
    before = text
    assert runner.invoke(app, ["table", str(page)]).exit_code == 0 and page.read_text() == before


def test_what_cannot_be_made_is_named(tmp_path: Path) -> None:
    results(tmp_path / "r")
    page = tmp_path / "page.md"
    for block, message in (
        ("no block", "holds no"),
        ("<!-- zoo bench table: r/results.json; tasks: task; other -->\n<!-- end of table -->", "no task 'other'"),
        ("<!-- zoo bench table: nowhere.json -->\n<!-- end of table -->", "no such file"),
    ):
        page.write_text(block)
        with pytest.raises(ConfigError, match=message):
            published.updated(page)
        assert page.read_text() == block


def test_results_without_their_predictions_are_compared_without_a_test(tmp_path: Path) -> None:
    results(tmp_path / "r")
    for file in (tmp_path / "r" / "predictions").iterdir():
        file.unlink()
    (contest,) = compare([tmp_path / "r"])
    assert contest.ranks is None and "the predictions of good, poor are not there" in contest.notes[0]
