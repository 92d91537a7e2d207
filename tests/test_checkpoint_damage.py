"""Damaged and edited checkpoints, and folders that are not checkpoints: errors name the file, and no checkpoint is ever
half replaced.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from small import small

import zoo
from zoo import checkpoint
from zoo.cli.card import read as read_card
from zoo.errors import CheckpointError
from zoo.loading import load_checkpoint


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    small("hubert-base").save(tmp_path / "model")
    return tmp_path / "model"


def edit(directory: Path, **changes: Any) -> None:
    """Change top-level fields of config.yaml; a value of None removes the field."""
    header = yaml.safe_load((directory / "config.yaml").read_text()) | changes
    header = {key: value for key, value in header.items() if value is not None}
    (directory / "config.yaml").write_text(yaml.safe_dump(header))


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors"])
def test_missing_file(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: no such file"):
        checkpoint.read(saved)


def test_truncated_weights(saved: Path) -> None:
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged, or not a safetensors file"):
        zoo.load(saved)


def test_one_flipped_bit(saved: Path) -> None:
    weights = saved / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CheckpointError, match="SHA-256"):
        zoo.load(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 99}, "checkpoint format 99.*reads format 1"),
        ({"fingerprint": None}, r"missing fields \['fingerprint'\]"),
        ({"color": "red"}, r"unknown fields \['color'\]"),
        ({"config": {"layres": 3}}, "no option 'layres'.*layers.*make it again"),
        ({"config": {"layers": "three"}}, "config is not valid"),
        ({"config": {"heads": 0}}, "config is not valid"),
        ({"config": {"layers": 10**9, "dim": 16, "heads": 1}}, "far larger model"),
        ({"config": {"layers": ["x" * 10**5]}}, r"config is not valid.*layers \['x{10,}\.\.\.x"),
        ({"config": {"dim": -8}}, "config is not valid"),
        ({"config": [1]}, "must be a mapping"),
        ({"provenance": "from a friend"}, "`provenance` must be a mapping"),
        ({"family": "herbert"}, "herbert.*if it is yours: --import MODULE or ZOO_IMPORT=MODULE, or import it first"),
        ({"config": {}}, "tensors do not fit"),
    ],
)
def test_header_with_wrong_fields(saved: Path, changes: dict[str, Any], message: str) -> None:
    edit(saved, **changes)
    with pytest.raises(CheckpointError, match=message) as caught:
        zoo.load(saved, device="cpu")
    assert str(saved) in str(caught.value)


@pytest.mark.parametrize("text", ["", "a: [", "just text", "- 1", "a: 1", "\x00", "!!python/object/apply:os.getcwd []"])
def test_config_that_is_not_ours(saved: Path, text: str) -> None:
    (saved / "config.yaml").write_text(text)
    assert not checkpoint.is_checkpoint(saved)
    with pytest.raises(CheckpointError, match=r"config\.yaml"):
        checkpoint.read(saved)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &a [1]\nb: *a", "aliases"),
        ("x: 2024-13-45", "month must be"),
        ("x: " + "9" * 5000, "digits"),
        ("x: " + "[" * 5000, "nested too deeply"),
        ("1: a\nformat: 1", "the key 1 is not text"),
        ("format: 99\nfamily: hubert\nconfig: {}", "checkpoint format 99"),
        ("train: {steps: 4}", "`format` is missing"),
    ],
    ids=["aliases", "date", "integer", "brackets", "keys", "format", "recipe"],
)
def test_a_damaged_config_is_named_by_load(saved: Path, text: str, reason: str) -> None:
    (saved / "config.yaml").write_text(text)
    run = saved.parent / "run"
    run.mkdir()
    (run / "config.yaml").write_text("train: {steps: 4}")
    shutil.copytree(saved, run / "best")
    readers = [zoo.load] if checkpoint.is_checkpoint(saved) else [zoo.load, read_card]  # a page needs no known format
    for source in (saved, run):
        for read in readers:
            with pytest.raises(CheckpointError, match=rf"config\.yaml: .*{reason}"):
                read(str(source))


def test_a_config_that_never_ends_is_not_read(saved: Path) -> None:
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        (saved / "config.yaml").unlink()
        make(saved / "config.yaml")
        with pytest.raises(CheckpointError, match=r"config\.yaml: not a regular file"):
            zoo.load(saved, device="cpu")


def test_a_folder_with_other_files_is_not_replaced(saved: Path, tmp_path: Path) -> None:
    model = small("hubert-base", seed=1)
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"notes\.txt"):
        model.save(saved)
    assert (saved / "notes.txt").read_text() == "mine"
    (saved / "notes.txt").unlink()
    (saved / "state").mkdir()
    model.save(saved)
    assert zoo.load(saved, device="cpu").fingerprint() == model.fingerprint()

    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "README.md").write_text("# Not a model")
    with pytest.raises(CheckpointError, match="not only a zoo checkpoint"):
        model.save(foreign)
    (tmp_path / "empty").mkdir()
    model.save(tmp_path / "empty")


def test_a_failing_save_leaves_the_old_checkpoint(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = checkpoint.read(saved).fingerprint

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        small("hubert-base", seed=1).save(saved)
    assert checkpoint.read(saved).fingerprint == before
    assert [p.name for p in saved.parent.iterdir()] == ["model"]


@pytest.mark.slow
def test_killed_while_saving_leaves_a_whole_checkpoint(saved: Path) -> None:
    program = (
        "import sys, zoo, torch\n"
        f"sys.path.insert(0, {str(Path(__file__).parent / 'helpers')!r})\n"
        "from small import small\n"
        "models = [small('hubert-base', seed=k) for k in (0, 1)]\n"
        "print('ready', flush=True)\n"
        f"while True:\n    [m.save({str(saved)!r}) for m in models]\n"
    )
    fingerprints = {small("hubert-base", seed=k).fingerprint() for k in (0, 1)}
    for pause in (0.05, 0.083, 0.121):
        child = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(pause)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert load_checkpoint(saved).fingerprint() in fingerprints
