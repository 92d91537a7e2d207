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
from zoo.jobs import shards
from zoo.jobs.plan import Limits
from zoo.transcribe import ledger, run
from zoo.transcribe.task import TranscribeTask

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

    def replace(path: Path, **options: bool) -> object:
        if path.name == name:
            raise OSError(number, os.strerror(number), str(path))
        return whole(path, **options)

    monkeypatch.setattr(module, "replacing_file", replace)


REFUSED = ((zoo.text.transcript, "two.json"), (shards, "_errors.jsonl"), (ledger, ledger.NAME))


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, *(pytest.param(n, marks=pytest.mark.slow) for n in (errno.EROFS, errno.EDQUOT))]
)
def test_a_full_disk_stops_the_run(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    out = tmp_path / "out"
    for module, name in REFUSED:
        with monkeypatch.context() as patch:
            refuse(patch, module, name, number)
            with pytest.raises(ZooError, match=rf"{name}: cannot be written \({os.strerror(number)}\)"):
                run(corpus, small_whisper(), out, **OPTIONS)
    assert len(errors(out)) == 1 and (out / "a" / "one.txt").exists()
    summary = run(corpus, small_whisper(), out, **OPTIONS)
    assert (summary.written, summary.skipped) == (0, 4)


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
    assert run(corpus, small_whisper(), out, formats="txt,srt", **OPTIONS).written == 1  # b/three.txt is of this folder


def test_a_format_that_cannot_be_written_later_is_a_failure(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(corpus / "a", small_whisper(), out, **OPTIONS)
    (out / "one.srt").mkdir()
    summary = run(corpus / "a", small_whisper(), out, formats="srt", **OPTIONS)
    assert (summary.written, summary.rendered, summary.skipped, summary.failed) == (0, 1, 0, 1)
    assert "one.srt: cannot be written" in errors(out)[0]["reason"]
    (out / "one.srt").rmdir()
    summary = run(corpus / "a", small_whisper(), out, formats="srt", **OPTIONS)
    assert (summary.rendered, summary.skipped, summary.failed) == (1, 1, 0)
    assert not (out / "_errors.jsonl").exists()


def test_errors_are_there_when_a_run_is_stopped(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(5):
        (corpus / f"empty{i}.wav").touch()
        soundfile.write(corpus / f"nan{i}.wav", np.array([0.1, np.nan] * 100), 16_000, subtype="FLOAT")
    monkeypatch.setattr(TranscribeTask, "limits", Limits(4, 600.0))
    compute = TranscribeTask.compute

    def stop(self: TranscribeTask, batch: list, advance: object) -> object:
        if any(decoded.item.path.endswith("three.wav") for decoded in batch):
            raise KeyboardInterrupt
        return compute(self, batch, advance)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TranscribeTask, "compute", stop)
        run(corpus, small_whisper(), tmp_path / "out", **OPTIONS)
    assert len(errors(tmp_path / "out")) == 1
    assert run(corpus, small_whisper(), tmp_path / "out", **OPTIONS).failed == 11
    assert len(errors(tmp_path / "out")) == 11
