"""The HuBERT recipe, killed (SIGKILL) at random times and resumed until it finishes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dying import environment

from zoo import corpora
from zoo.data import manifest

KILLS = 20
TINY = [
    "model.dim=32",
    "model.layers=2",
    "model.heads=2",
    "model.ffn_dim=64",
    "model.dropout=0.1",
    "final_units=12",
    "data.batch_seconds=10",
    "train.steps=60",
    "train.log_every=10",
    "train.validate_every=20",
    "train.save_every=5",
]


def start(manifest_path: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "zoo.recipes.hubert.train", f"data.sources={manifest_path}", f"out={out}", *TINY]
    out.parent.mkdir(exist_ok=True)
    log = out.with_suffix(".log").open("ab")
    return subprocess.Popen(command, env=environment(Path(__file__).parent, 1), stdout=log, stderr=log)


def results(out: Path) -> dict[str, bytes]:
    """Files that must not depend on kills: models, quantizers and labels."""
    files = [path for path in out.rglob("*.safetensors") if "state" not in str(path)]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


@pytest.mark.slow
def test_the_recipe_survives_kills_at_random_times(tmp_path: Path) -> None:
    """Units, labels, both rounds, checkpoints and the final model are bit-identical to those of a run without kills."""
    entries = manifest.read(corpora.build("speech", "tiny", workers=1, progress=False))
    chosen = [e for e in entries if e.split == "train"][:32] + [e for e in entries if e.split == "dev"][:8]
    manifest.write(tmp_path / "clips.jsonl", chosen)
    began = time.monotonic()
    whole = tmp_path / "whole" / "run"  # every run has the same name: quantizers record it
    assert start(tmp_path / "clips.jsonl", whole).wait() == 0, whole.with_suffix(".log").read_text()
    duration, draws, kills, runs = time.monotonic() - began, random.Random(0), 0, 0
    expected = results(whole)
    assert len(expected) > 6
    while kills < KILLS:
        out = tmp_path / f"killed-{runs}" / "run"
        runs += 1
        while True:
            child = start(tmp_path / "clips.jsonl", out)
            try:
                code = child.wait(draws.uniform(0.1, 0.9) * duration if kills < KILLS else None)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                child.wait()
                kills += 1
                continue
            assert code == 0, out.with_suffix(".log").read_text()
            break
        assert results(out) == expected, f"after {kills} kills"
