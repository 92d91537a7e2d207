"""Fixtures of the MuLan recipe: a corpus of tones, and tasks that train on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tones import tones_config, write_tones

from zoo.data import sources
from zoo.models.mulan.audio import SpecAugment
from zoo.recipes.mulan.run import build
from zoo.recipes.mulan.spectra import pair_loader
from zoo.recipes.mulan.task import Contrast
from zoo.recipes.mulan.texts import Texts


@pytest.fixture(scope="session", autouse=True)
def features_stay_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The evaluation of a run stores features in the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tones(tmp_path_factory.mktemp("tones"))


@pytest.fixture
def make(tones: Path, tmp_path: Path) -> Callable[..., tuple[Contrast, Any]]:
    """A task in training mode, and the training loader."""

    def make_task(tower: str = "resnet", **changes: Any) -> tuple[Contrast, Any]:
        config = replace(tones_config(tones, tmp_path / "run", tower), **changes)
        entries = sources.open(tones)
        model = build(config, entries)
        model.augment = SpecAugment(**asdict(config.augment))
        loader = pair_loader(entries, "train", model, Texts(config.data.text), config.data, 0)
        return Contrast(model, config).train(), loader

    return make_task
