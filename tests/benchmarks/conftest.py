"""A corpus of tones for the tests of tasks."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import tones


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return tones(tmp_path / "tones")
