"""A corpus of tones to examine encoders on."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import tones


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return tones(tmp_path / "tones")
