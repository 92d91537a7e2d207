"""Reports of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo.train.log import METRICS, Log
from zoo.train.state import Progress


def test_reported_speed_excludes_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("zoo.train.log.time.monotonic", lambda: now[0])
    with Log(tmp_path, step=0, total=20) as log:
        progress = Progress()
        for pause in (100.0, 0.0):
            progress.step += 10
            now[0] += 5.0
            log.waited += 1.0
            log.train(progress, rate=1e-3, skipped=0)
            with log.aside():
                now[0] += pause
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text(encoding="utf-8").splitlines()]
    assert [(line["steps_per_second"], line["data_wait"]) for line in lines] == [(2.0, 0.2), (2.0, 0.2)]


def test_lines_for_people_have_the_step_and_few_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zoo.train.log.LINE_EVERY", -1.0)
    with Log(tmp_path, step=0, total=20, hidden=frozenset({"bits"})) as log:
        progress = Progress(step=10, pending={"loss": [4.0, 2.0], "seconds": [9.0, 1.0]})
        log.train(progress, rate=1e-3, skipped=0)
        progress.step = 20
        log.train(progress, rate=1e-3, skipped=3)
        log.report("dev", 20, {"loss": 1.5, "bits": 2.2})
    first, second, dev = capsys.readouterr().err.splitlines()
    assert first.startswith("train step 10/20  loss 2  learning_rate 0.001  epoch 0  steps_per_second")
    assert not any(name in first for name in ("skipped", "data_wait", "audio_hours", "seconds 9"))
    assert "  skipped 3  " in second
    assert dev == "dev   step 20/20  loss 1.5"
    assert (tmp_path / "log.txt").read_text().splitlines()[-1] == dev
    recorded = [json.loads(line) for line in (tmp_path / METRICS).read_text(encoding="utf-8").splitlines()]
    assert recorded[2]["bits"] == 2.2 and {"audio_hours", "data_wait", "skipped"} <= recorded[0].keys()
