"""MuLan training with two processes equals one process; killed runs resume with identical results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from dying import kill
from mulan_processes import run
from safetensors.torch import load_file
from tones import write_tones
from torchrun import torchrun

from zoo.benchmarks.results import read_records

SCRIPT = Path(__file__).with_name("mulan_processes.py")
CHOSEN = ["step:3", "embed:29", "export:2"]
TIMED = {"steps_per_second", "data_wait"}


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tones(tmp_path_factory.mktemp("tones"), train=36)


@pytest.fixture(scope="module")
def whole(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in one process, without a stop."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(tones, folder)
    return folder


def metrics(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMED} for line in lines]


def scores(folder: Path) -> list[Any]:
    """Task, role, score and interval of each result, without the names of models, which are those of the folders."""
    records = read_records(folder / "evaluation" / "results.json")
    return [(record.task, record.role, record.score, record.low, record.high) for record in records]


@pytest.mark.slow
def test_two_processes_equal_one(tones: Path, whole: Path, tmp_path: Path) -> None:
    torchrun(SCRIPT, tones, tmp_path / "two")
    assert json.loads((tmp_path / "two" / "env.json").read_text())["processes"] == 2
    one, two = metrics(whole), metrics(tmp_path / "two")
    assert len(one) == len(two) == 6
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        for name, value in a.items():
            assert value == pytest.approx(b[name], rel=2e-4) if isinstance(value, float) else value == b[name], (a, b)
    weights = [load_file(folder / "last" / "model.safetensors") for folder in (whole, tmp_path / "two")]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, atol=2e-4, rtol=2e-4, msg=name)
    assert {record[:2] for record in scores(tmp_path / "two")} == {record[:2] for record in scores(whole)}


@pytest.mark.slow
def test_killed_runs_end_with_the_same_bytes(tones: Path, whole: Path, tmp_path: Path) -> None:
    assert kill(str(SCRIPT), [tones, tmp_path], CHOSEN) == [f"{moment} 9" for moment in CHOSEN]
    for moment in CHOSEN:
        run(tones, tmp_path / moment)
        assert metrics(tmp_path / moment) == metrics(whole), moment
        for name in ("best/model.safetensors", "last/model.safetensors", "best/tokenizer.json"):
            assert (tmp_path / moment / name).read_bytes() == (whole / name).read_bytes(), (moment, name)
        assert scores(tmp_path / moment) == scores(whole), moment
