"""The `zoo` command as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import soundfile
from small import noise, small


def zoo(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zoo", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


def test_list_and_info() -> None:
    listed = zoo("list", "hubert*").stdout
    assert "hubert-base" in listed and "mfcc" not in listed
    shown = zoo("info", "hubert-large").stdout
    assert "Apache-2.0" in shown and "Libri-Light" in shown


def test_errors_are_one_line_and_status_one() -> None:
    done = zoo("info", "hubert-bse", code=1)
    assert "did you mean hubert-base" in done.stderr
    assert "Traceback" not in done.stderr


def test_embed_writes_parquet_and_lists_failures(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "good.wav", noise(0.5).numpy(), 16_000)
    (tmp_path / "bad.wav").write_text("not audio")
    out = tmp_path / "out"
    zoo("embed", tmp_path / "*.wav", "-m", "mfcc", "-o", out, "--pooling", "stats")
    table = pq.read_table(out / "part-00000.parquet")
    assert [Path(p).name for p in table["path"].to_pylist()] == ["good.wav"]
    assert len(table["embedding"][0].as_py()) == 78
    failure = json.loads((out / "errors.jsonl").read_text())
    assert failure["path"].endswith("bad.wav") and failure["reason"]
    zoo("embed", tmp_path / "*.wav", "-m", "mfcc", "-o", out, "--pooling", "stats", "--fail-on-error", code=1)


def test_convert_makes_a_checkpoint_that_loads(tmp_path: Path) -> None:
    small("hubert-base").save(tmp_path / "one")
    done = zoo("convert", tmp_path / "one", tmp_path / "two")
    assert small("hubert-base").fingerprint() in done.stdout
    assert (tmp_path / "two" / "model.safetensors").is_file()
