"""The output of `make demo`."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from zoo import demo
from zoo.benchmarks import suite


@pytest.mark.slow
def test_the_demo_shows_neighbors_units_transcripts_and_a_search(tmp_path: Path) -> None:
    output = StringIO()
    demo.run(tmp_path, Console(file=output, width=120), exam=False)
    text = " ".join(output.getvalue().split())
    for title in ("neighbors by hubert-mini", "neighbors by mulan-mini", "hidden units", "search by text"):
        assert title in text
    assert (tmp_path / "map.png").stat().st_size > 10_000


def test_the_tasks_of_the_demo_exist() -> None:
    names = {task.name for task in suite.load("mini").tasks}
    assert {task for tasks in demo.EXAM.values() for task in tasks} <= names
