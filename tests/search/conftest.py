"""Tones in a folder, and the encoder of `bands`, registered as "bands"."""

from __future__ import annotations

from pathlib import Path

import pytest
from bands import Bands, write_tone

import zoo
from zoo import registry
from zoo.encoder import Encoder


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_cards", dict(registry._cards))
    monkeypatch.setattr(registry, "_families", dict(registry._families))
    zoo.register(zoo.ModelCard("bands", "bands", "loudness of eight bands"), Bands)


@pytest.fixture
def bands() -> Encoder:
    return zoo.load("bands")


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """0.wav ... 7.wav, one in each band."""
    for band in range(8):
        write_tone(tmp_path / "tones" / f"{band}.wav", band)
    return tmp_path / "tones"
