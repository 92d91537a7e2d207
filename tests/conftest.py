"""Shared fixtures. Tests marked `realdata` use the recordings under ZOO_DATA (default: ../shared/data)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import zoo.nn.kernels.openmp  # noqa: F401  before torch

DATA_ROOT = Path(os.environ.get("ZOO_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if DATA_ROOT.is_dir():
        return
    skip = pytest.mark.skip(reason=f"no recordings at {DATA_ROOT}; set ZOO_DATA")
    for item in items:
        if item.get_closest_marker("realdata"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of real recordings; use it only in tests marked `realdata`, which are skipped without it."""
    return DATA_ROOT
