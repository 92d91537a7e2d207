"""Paths as users write them, and as `find_media` finds them."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from audio_files import sound

from zoo import audio
from zoo.audio.files import find_media

RATE = 16000


def test_a_tilde_is_the_home_folder_unless_it_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `find_media` finds in a folder called ~ is that file, not one in the home folder."""
    home = tmp_path / "home"
    for folder, seconds in ((home, 2.0), (tmp_path / "here" / "~", 1.0)):
        folder.mkdir(parents=True)
        soundfile.write(folder / "a.wav", sound(RATE, seconds), RATE)
    soundfile.write(home / "b.wav", sound(RATE, 3.0), RATE)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path / "here")
    (found,) = find_media("~")
    assert found == "~/a.wav"
    assert len(audio.load(found, RATE)) == RATE and audio.probe(found).samples == RATE
    assert len(audio.load("~/b.wav", RATE)) == 3 * RATE and audio.probe(Path("~/b.wav")).samples == 3 * RATE
    monkeypatch.chdir(tmp_path)
    assert len(audio.load("~/a.wav", RATE)) == 2 * RATE
