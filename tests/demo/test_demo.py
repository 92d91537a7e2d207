"""What `make demo` shows."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from zoo import demo
from zoo.benchmarks import suite


@pytest.mark.slow
def test_the_demo_shows_neighbours_units_transcripts_and_a_search(tmp_path: Path) -> None:
    said = StringIO()
    demo.run(tmp_path, Console(file=said, width=120), exam=False)
    text = " ".join(said.getvalue().split())
    for title in ("neighbours by hubert-mini", "neighbours by mulan-mini", "hidden units", "search by text"):
        assert title in text
    assert (tmp_path / "map.png").stat().st_size > 10_000


def test_the_demo_asks_for_tasks_that_there_are() -> None:
    names = {task.name for task in suite.load("mini").tasks}
    assert {task for tasks in demo.EXAM.values() for task in tasks} <= names
