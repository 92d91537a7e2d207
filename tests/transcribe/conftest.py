"""Recordings to transcribe: four short ones in two folders, and a file that is not audio."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from small import noise


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    for i, name in enumerate(("a/one.wav", "a/two.flac", "b/one.wav", "b/three.wav")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise(0.6 + 0.3 * i, seed=i).numpy(), 16_000)
    (folder / "b" / "broken.wav").write_text("no audio")
    return folder
