"""HuBERT pre-training with two processes, which share labeling and training, gives the same result as with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hubert_processes import run
from torchrun import torchrun

import zoo
from zoo import corpora
from zoo.data import manifest

SCRIPT = Path(__file__).with_name("hubert_processes.py")


def labels(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("labels/train/part-*")}


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = manifest.read(corpora.build("speech", "tiny", workers=1, progress=False))
    chosen = [e for e in entries if e.split == "train"][:24] + [e for e in entries if e.split == "dev"][:8]
    manifest.write(tmp_path / "clips.jsonl", chosen)
    torchrun(SCRIPT, tmp_path / "clips.jsonl", tmp_path / "two")
    for module, name in (("features", "BLOCK_SECONDS"), ("labels", "PART_SECONDS")):
        monkeypatch.setattr(f"zoo.units.{module}.{name}", 1.0)  # restored after the test
    run(tmp_path / "clips.jsonl", tmp_path / "one")
    one, two = (labels(tmp_path / name / "round-1" / "units") for name in ("one", "two"))
    assert len(one) > 3 and one == two, "units of MFCC, byte by byte"
    for a, b in zip(*(metrics(tmp_path / name / "round-1" / "run") for name in ("one", "two")), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3), "equal up to the rounding of bfloat16"
    assert json.loads((tmp_path / "two" / "round-2" / "run" / "env.json").read_text())["processes"] == 2
    assert len(labels(tmp_path / "two" / "round-2" / "units")) == len(one), "units of the first round's model"
    assert zoo.load(tmp_path / "two" / "model").units(chosen[0].audio).max() < 8
