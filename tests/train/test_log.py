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
