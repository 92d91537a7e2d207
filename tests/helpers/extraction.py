"""Fixtures: a corpus on the disk, and two encoders that need no weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from recordings import write_corpus
from small import small

from zoo.encoder import Encoder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus")


@pytest.fixture(scope="session")
def mfcc() -> Encoder:
    return small("mfcc")


@pytest.fixture(scope="session")
def hubert() -> Encoder:
    """Three blocks, 48 wide."""
    return small("hubert-base")
