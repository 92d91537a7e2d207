"""Directories that ask transformers for a model or a processor far beyond their weights are refused in little time."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from foreign_wrapped import foreign

import zoo
from zoo.errors import CheckpointError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    theirs, extractor = foreign("waveform, 20 ms")
    theirs.save_pretrained(tmp_path / "model")
    extractor.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_hidden_layers": 10**7}, "num_hidden_layers 10000000: at most 1,000,000"),
        ({"num_hidden_layers": 10**30}, "num_hidden_layers 1000.*: at most 1,000,000"),
        ({"num_hidden_layers": 1_000_000}, "far larger model than these weights"),
        ({"num_hidden_layers": 100, "intermediate_size": 10**6}, "far larger model than these weights"),
        ({"intermediate_size": 10**12}, "far larger model than these weights"),
        ({"conv_dim": [10**9] * 7}, "far larger model than these weights"),
    ],
)
def test_sizes_beyond_the_weights(directory: Path, tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    ours = zoo.load(directory, device="cpu", wrap=True)
    ours.save(tmp_path / "ours")
    edit(directory / "config.json", **changes)
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{reason}"):
        zoo.load(directory, device="cpu", wrap=True)
    settings = json.loads(ours.config.settings)
    header = yaml.safe_load((tmp_path / "ours" / "config.yaml").read_text())
    header["config"]["settings"] = json.dumps(settings | changes)
    (tmp_path / "ours" / "config.yaml").write_text(yaml.safe_dump(header))
    with pytest.raises(CheckpointError, match=reason):
        zoo.load(tmp_path / "ours", device="cpu")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sampling_rate": 2_000_000}, "sampling_rate 2e.06: must be at least 1000 and at most 1e.06"),
        ({"sampling_rate": 10**12}, "sampling_rate"),
        ({"sampling_rate": -1}, "sampling_rate -1"),
        ({"feature_size": 10**9}, "feature_size"),
        ({"n_fft": 10**9}, "n_fft"),
        ({"max_length": 10**12}, "max_length"),
        ({"feature_extractor": {"chunk_length": 10**6}}, "chunk_length"),
    ],
)
def test_numbers_of_the_processor(directory: Path, tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    ours = zoo.load(directory, device="cpu", wrap=True)
    ours.save(tmp_path / "ours")
    edit(directory / "preprocessor_config.json", **changes)
    with pytest.raises(CheckpointError, match=rf"preprocessor_config\.json: {reason}"):
        zoo.load(directory, device="cpu", wrap=True)
    header = yaml.safe_load((tmp_path / "ours" / "config.yaml").read_text())
    header["config"]["extractor"] = json.dumps(json.loads(ours.config.extractor) | changes)
    (tmp_path / "ours" / "config.yaml").write_text(yaml.safe_dump(header))
    with pytest.raises(CheckpointError, match=reason):
        zoo.load(tmp_path / "ours", device="cpu")


@pytest.mark.parametrize("name", ["processor_config.json", "preprocessor_config.json", "config.json", "other.json"])
def test_pipes_are_not_waited_for(directory: Path, name: str) -> None:
    (directory / name).unlink(missing_ok=True)
    os.mkfifo(directory / name)
    with pytest.raises(CheckpointError, match=f"{name}: not a regular file"):
        zoo.load(directory, device="cpu", wrap=True)


@pytest.mark.parametrize(("field", "value"), [("hop", 0), ("min_samples", -1), ("layers", 10**9), ("sample_rate", 1)])
def test_numbers_of_a_saved_model(directory: Path, tmp_path: Path, field: str, value: int) -> None:
    zoo.load(directory, device="cpu", wrap=True).save(tmp_path / "ours")
    header = yaml.safe_load((tmp_path / "ours" / "config.yaml").read_text())
    header["config"][field] = value
    (tmp_path / "ours" / "config.yaml").write_text(yaml.safe_dump(header))
    with pytest.raises(CheckpointError, match=re.escape(f"{field} {value:g}: must be at least")):
        zoo.load(tmp_path / "ours", device="cpu")


def test_models_of_text_are_not_built(directory: Path) -> None:
    """DistilBERT's table of positions is a loop in Python: an hour for a billion of them."""
    options = {"sinusoidal_pos_embds": True, "max_position_embeddings": 10**9}
    edit(directory / "config.json", model_type="distilbert", **options)
    with pytest.raises(CheckpointError, match="DistilBertModel takes text"):
        zoo.load(directory, device="cpu", wrap=True)
