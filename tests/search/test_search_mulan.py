"""A saved MuLan or CLAP with `zoo index` and `zoo search`: its tokenizer, and queries by text and by audio."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import torch
from foreign_clap import tokenizer_files
from small import noise, small
from typer.testing import CliRunner

import zoo
from zoo.cli.main import app
from zoo.models.clap.text import Tokenizer as ClapTokenizer
from zoo.models.mulan.model import MuLan


def command(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(params=["mulan-mini", "mulan-mini-ast", "clap-htsat-unfused", "clap-htsat-fused"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    if request.param.startswith("clap"):
        model = small(request.param)
        tokenizer_files(tmp_path / "tokens")
        model.tokenizer = ClapTokenizer.load(tmp_path / "tokens")
    else:
        model = zoo.create(request.param)
    model.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("checkpoint", ["mulan-mini", "mulan-mini-ast"], indirect=True)
def test_the_mini_model_has_its_tokenizer(checkpoint: Path) -> None:
    model = zoo.load(checkpoint)
    assert isinstance(model, MuLan) and model.tokenizer is not None
    assert len(model.tokenizer) == model.config.vocab_size
    ids, _ = model.tokenizer.encode(["slow piano music"], 64)
    assert ids.shape == (1, 5), "words of the captions are whole tokens"
    assert zoo.create("mulan-mini", vocab_size=100).tokenizer is None


def test_index_and_search(checkpoint: Path, tmp_path: Path) -> None:
    music = tmp_path / "music"
    music.mkdir()
    for index, seconds in enumerate((2.0, 12.0, 26.0)):
        soundfile.write(music / f"{index}.flac", noise(seconds, index).numpy(), 16_000)
    command("index", music, "-m", checkpoint, "-o", tmp_path / "index", "--dtype", "float32", "-q")
    model = zoo.load(checkpoint)
    files = sorted(music.iterdir())
    expected = model.similarity(files, ["calm solo piano"])[:, 0]
    hits = json.loads(command("search", tmp_path / "index", "calm solo piano", "--json"))
    assert [hit["path"] for hit in hits] == [str(files[i]) for i in expected.argsort(descending=True)]
    torch.testing.assert_close(
        torch.tensor([hit["score"] for hit in hits]), expected.sort(descending=True).values, atol=1e-4, rtol=0
    )
    (nearest, *_) = json.loads(command("search", tmp_path / "index", "--audio", files[2], "--json"))
    assert nearest["path"] == str(files[2]) and nearest["score"] == pytest.approx(1, abs=1e-4)
