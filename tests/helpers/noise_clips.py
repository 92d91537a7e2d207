"""A few seconds of "speech": clips of colored noise on disk, with two phones."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from small import noise

from zoo.data.manifest import Entry


def write_clips(folder: Path, count: int = 6) -> list[Entry]:
    """Entries of 0.6 s and more, each half "a" and half "b"."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for i in range(count):
        seconds = 0.6 + 0.13 * i
        path = folder / f"{i}.wav"
        soundfile.write(path, noise(seconds, seed=i).numpy(), 16_000)
        entries.append(Entry(path, seconds, "train", phones=[(0.0, seconds / 2, "a"), (seconds / 2, seconds, "b")]))
    return entries


@pytest.fixture
def clips(tmp_path: Path) -> list[Entry]:
    return write_clips(tmp_path / "clips")
