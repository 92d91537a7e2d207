"""Recordings that fail, disks that cannot be written, unusual file names."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console
from small import noise
from small_whisper import small_whisper

import zoo.text.transcript
from zoo.errors import ZooError
from zoo.io import atomic
from zoo.transcribe import failures, job, journal, run

OPTIONS = {"vad": "none", "temperature": 0.0, "language": "en", "workers": 1, "progress": False}


def errors(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "_errors.jsonl").read_text().splitlines()]


def test_a_file_name_that_is_not_utf8(corpus: Path, tmp_path: Path) -> None:
    (corpus / "a" / "zero\udcff.wav").touch()
    (corpus / "a" / "talk\udcff.wav").write_bytes((corpus / "a" / "one.wav").read_bytes())
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    options = {**OPTIONS, "progress": Console(file=output, width=200)}
    for written in (5, 0):
        summary = run(corpus, small_whisper(), tmp_path / "out", **options)
        assert (summary.written, summary.failed) == (written, 2)
    assert errors(tmp_path / "out")[0]["path"].endswith("zero\\udcff.wav")
    assert (tmp_path / "out" / "a" / "talk\udcff.txt").exists()


def test_names_up_to_the_limit(tmp_path: Path) -> None:
    folder, out = tmp_path / "corpus", tmp_path / "out"
    folder.mkdir()
    sound = noise(0.5, seed=1).numpy()
    for name in ("a.wav", "会" * 83 + ".wav", "x" * 251 + ".wav", "x" * 251 + ".WAV", "z.wav"):
        soundfile.write(folder / name, sound, 16_000, format="wav")
    summary = run(folder, small_whisper(), out, formats="txt,tsv", **OPTIONS)
    assert (summary.written, summary.failed) == (3, 2)  # "xxx.wav.txt" and "xxx.WAV.txt" are too long for any disk
    assert {Path(line["path"]).stem for line in errors(out)} == {"x" * 251}
    assert all("cannot be written (File name too long)" in line["reason"] for line in errors(out))
    assert (out / f"{'会' * 83}.txt").exists() and (out / "z.tsv").exists()
    assert run(folder, small_whisper(), out, formats="txt,tsv", **OPTIONS).skipped == 3


def refuse(monkeypatch: pytest.MonkeyPatch, module: object, name: str, number: int) -> None:
    """Writing a file with this name fails with this error number."""
    whole = atomic.replacing_file

    def replace(path: Path) -> object:
        if path.name == name:
            raise OSError(number, os.strerror(number))
        return whole(path)

    monkeypatch.setattr(module, "replacing_file", replace)


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, *(pytest.param(n, marks=pytest.mark.slow) for n in (errno.EROFS, errno.EDQUOT))]
)
def test_a_full_disk_stops_the_run(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    out = tmp_path / "out"
    for module, name in ((journal, journal.NAME), (failures, "_errors.jsonl"), (zoo.text.transcript, "two.json")):
        with monkeypatch.context() as patch:
            refuse(patch, module, name, number)
            with pytest.raises(ZooError, match=rf"{name}: cannot be written \({os.strerror(number)}\)"):
                run(corpus, small_whisper(), out, **OPTIONS)
    assert len(errors(out)) == 1 and (out / "a" / "one.txt").exists()
    assert run(corpus, small_whisper(), out, **OPTIONS).written == 3


def test_a_single_file_that_cannot_be_written_does_not_stop_the_run(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    (out / "b").mkdir(parents=True)
    (out / "b" / "three.srt").mkdir()
    summary = run(corpus, small_whisper(), out, formats="txt,srt", **OPTIONS)
    assert (summary.written, summary.failed) == (3, 2)
    assert "three.srt: cannot be written" in errors(out)[1]["reason"]
    assert sorted(path.name for path in (out / "b").iterdir()) == [
        *("one.json", "one.srt", "one.txt", "three.json", "three.srt", "three.txt")
    ]
    (out / "b" / "three.srt").rmdir()
    assert run(corpus, small_whisper(), out, formats="txt,srt", **OPTIONS).written == 1  # the journal has b/three.txt


def test_errors_are_written_once_a_group_and_when_stopped(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(20):
        (corpus / f"empty{i}.wav").touch()
        soundfile.write(corpus / f"nan{i}.wav", np.array([0.1, np.nan] * 100), 16_000, subtype="FLOAT")
    written: list[int] = []
    whole = failures.Failures._replace
    monkeypatch.setattr(
        failures.Failures,
        "_replace",
        lambda self: written.append(len(self)) or whole(self),  # type: ignore[func-returns-value]
    )
    assert run(corpus, small_whisper(), tmp_path / "out", **OPTIONS).failed == 41
    assert written == [21, 41]
    monkeypatch.setattr(job.Job, "_transcribe", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(corpus, small_whisper(), tmp_path / "stopped", **OPTIONS)
    assert written == [21, 41, 21, 41] and len(errors(tmp_path / "stopped")) == 41


def test_tasks_are_not_compared_with_each_other(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise time grows with the square of the number of recordings."""

    def refuse(self: job.TranscriptTask, other: object) -> bool:
        raise AssertionError("tasks compared")

    monkeypatch.setattr(job.TranscriptTask, "__eq__", refuse)
    for _ in range(2):
        run(corpus, small_whisper(), tmp_path / "out", **OPTIONS)
