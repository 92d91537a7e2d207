"""Owners of files: no transcript replaces that of another recording, or a file that zoo did not write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile
from small import noise
from small_whisper import small_whisper

from zoo.errors import ZooError
from zoo.text.transcript import Transcript
from zoo.transcribe import run
from zoo.transcribe.ledger import NAME

OPTIONS = {"vad": "none", "temperature": 0.0, "language": "en", "workers": 1, "progress": False}


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Different recordings of one name."""
    paths = [tmp_path / "A" / "talk.wav", tmp_path / "B" / "talk.wav"]
    for i, path in enumerate(paths):
        path.parent.mkdir()
        soundfile.write(path, noise(0.5 + i / 4, seed=i).numpy(), 16_000)
    return paths


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_a_recording_of_the_same_name_is_refused(two: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(two[0], small_whisper(), out, **OPTIONS)
    before = contents(out)
    with pytest.raises(ZooError, match=r"out/talk\.json: .*transcript of .*A/talk\.wav.*choose another --out"):
        run(two[1], small_whisper(), out, **OPTIONS)
    assert contents(out) == before
    assert run(two[0], small_whisper(), out, **OPTIONS).skipped == 1
    for name in ("talk.json", "talk.txt"):
        (out / name).rename(tmp_path / name)  # as the error suggests
    assert run(two[1], small_whisper(), out, **OPTIONS).written == 1


def test_a_file_that_is_recorded_for_two_recordings_is_refused(two: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(two[0], small_whisper(), out, **OPTIONS)
    lines = (out / NAME).read_text().splitlines()
    wrong = json.loads(lines[-1])
    wrong["item"] = wrong["item"].replace("/A/", "/B/")
    (out / NAME).write_text("\n".join([*lines, json.dumps(wrong)]) + "\n")
    for path in two:
        with pytest.raises(ZooError, match=r"talk\.json: is the transcript of"):
            run(path, small_whisper(), out, **OPTIONS)


@pytest.mark.parametrize("name", ["talk.txt", "_errors.jsonl"])
def test_other_files_are_not_replaced(two: list[Path], name: str) -> None:
    out = two[0].parent
    (out / name).write_text("mine")
    before = contents(out)
    with pytest.raises(ZooError, match=rf"{name}: already exists and was not written by zoo transcribe"):
        run(two[0], small_whisper(), out, **OPTIONS)
    assert contents(out) == before
    (out / name).unlink()
    assert run(two[0], small_whisper(), out, **OPTIONS).written == 1


def test_names_do_not_change_with_the_common_folder(two: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(two[0], small_whisper(), out, **OPTIONS)
    for paths in (two, two[::-1], [two[0].parent, two[1].parent]):
        summary = run(paths, small_whisper(), out, **OPTIONS)
    assert (summary.written, summary.skipped) == (0, 2)
    assert sorted(contents(out)) == ["B/talk.json", "B/talk.txt", NAME, "talk.json", "talk.txt"]
    soundfile.write(two[0], noise(0.9, seed=7).numpy(), 16_000)
    assert run(two, small_whisper(), out, **OPTIONS).written == 1
    assert sorted(contents(out)) == ["B/talk.json", "B/talk.txt", NAME, "talk.json", "talk.txt"]


def test_files_of_a_stopped_run_are_recognized(
    two: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run stopped after the first of two formats."""
    out, whole, save = tmp_path / "out", tmp_path / "whole", Transcript.save

    def stop(transcript: Transcript, path: Path, **style: Any) -> None:
        if path.suffix == ".txt":
            raise KeyboardInterrupt
        save(transcript, path, **style)

    run(two, small_whisper(), whole, formats="txt,json", **OPTIONS)
    with monkeypatch.context() as patch:
        patch.setattr(Transcript, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            run(two, small_whisper(), out, formats="txt,json", **OPTIONS)
    assert sorted(contents(out)) == [".job/_plan.jsonl", "B/talk.json"]
    with pytest.raises(ZooError, match=r"/talk\.json: is the transcript of"):  # of a recording that is not asked for
        run(_copy(two, tmp_path / "other"), small_whisper(), out, formats="txt,json", **OPTIONS)
    assert run(two, small_whisper(), out, formats="txt,json", **OPTIONS).written == 2
    assert contents(out) == contents(whole)


def _copy(paths: list[Path], folder: Path) -> Path:
    for path in paths:
        copy = folder / path.parent.name / path.name
        copy.parent.mkdir(parents=True)
        copy.write_bytes(path.read_bytes())
    return folder
