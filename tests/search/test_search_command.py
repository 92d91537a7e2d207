"""`zoo index` and `zoo search` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bands import write_tone
from typer.testing import CliRunner

import zoo
from zoo.cli.main import app
from zoo.errors import ConfigError, ZooError
from zoo.search import Index, build, find


def command(*arguments: str | Path) -> str:
    """Output of a `zoo` command in this process, where "bands" is registered."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_index_and_search_by_text(tones: Path, tmp_path: Path) -> None:
    command("index", tones, "--model", "bands", "--out", tmp_path / "index", "--quiet")
    shown = json.loads(command("search", tmp_path / "index", "lowest", "-k", "3", "--json"))
    assert [set(hit) for hit in shown] == [{"path", "score"}] * 3
    hits = Index.open(tmp_path / "index").query_text(zoo.load("bands"), "lowest", 3)
    assert [(hit["path"], hit["score"]) for hit in shown] == [(hit.path, hit.score) for hit in hits]
    lines = command("search", tmp_path / "index", "lowest", "-k", "2").splitlines()
    assert lines[0].split() == ["score", "path"] and lines[1].split()[0] == f"{hits[0].score:.3f}"


def test_search_by_audio(tones: Path, tmp_path: Path) -> None:
    command("index", tones / "*.wav", "-m", "mfcc", "-o", tmp_path / "index", "-q")
    hits = json.loads(command("search", tmp_path / "index", "--audio", tones / "3.wav", "-k", "1", "--json"))
    assert hits[0]["path"] == str(tones / "3.wav") and hits[0]["score"] == pytest.approx(1, abs=1e-5)


def test_parts_are_shown_with_their_start(tones: Path, tmp_path: Path) -> None:
    span = {"audio": "tones/1.wav", "duration": 0.2, "split": "test", "start": 0.25, "end": 0.45}
    (tmp_path / "parts.jsonl").write_text(json.dumps(span) + "\n")
    command("index", tmp_path / "parts.jsonl", "-m", "bands", "-o", tmp_path / "index", "-q")
    assert json.loads(command("search", tmp_path / "index", "low", "--json"))[0]["start"] == 0.25
    assert command("search", tmp_path / "index", "low").splitlines()[0].split() == ["score", "start", "path"]


def test_a_name_that_looks_like_markup_or_is_not_utf8_is_shown(tmp_path: Path) -> None:
    for name in ("[bold]a.wav", "b\udcff.wav"):
        write_tone(tmp_path / "odd" / name.replace("\udcff", "x"), 0).rename(tmp_path / "odd" / name)
    command("index", tmp_path / "odd", "-m", "bands", "-o", tmp_path / "index", "-q")
    assert {Path(hit.path).name for hit in find(tmp_path / "index", "low")} == {"[bold]a.wav", "b\udcff.wav"}
    hits = json.loads(command("search", tmp_path / "index", "low", "--json"))
    assert {Path(hit["path"]).name for hit in hits} == {"[bold]a.wav", r"b\udcff.wav"}
    assert str(tmp_path / "odd" / "[bold]a.wav") in command("search", tmp_path / "index", "low")


def test_invalid_queries(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    with pytest.raises(ZooError, match="no index here"):
        find(out, "low")
    build(tones, zoo.load("bands"), out, progress=False)
    for arguments in ({}, {"text": "low", "audio": tones / "0.wav"}):
        with pytest.raises(ConfigError, match="one of the two"):
            find(out, **arguments)
    with pytest.raises(ZooError, match="object"):
        find(out, "low")
    with pytest.raises(ZooError, match="not with mfcc"):
        find(out, audio=tones / "0.wav", model="mfcc")
    assert find(out, "low", model="bands", k=1)[0].path == str(tones / "1.wav")


def test_a_query_to_an_empty_index_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_text("no audio")
    assert build(tmp_path / "bad.wav", "bands", tmp_path / "index", progress=False).failed == 1
    with pytest.raises(ZooError, match="is empty"):
        find(tmp_path / "index", "low")


def test_the_exit_status_of_index_tells_failures(tones: Path, tmp_path: Path) -> None:
    (tones / "bad.wav").write_text("not audio")
    options = ["--model", "bands", "--out", tmp_path / "index", "--quiet"]
    command("index", tones, *options)
    for inputs, flags in (([tones], ["--fail-on-error"]), ([tones / "bad.wav"], [])):
        options[3] = tmp_path / f"index of {len(flags)}"
        arguments = ["index", *inputs, *options, *flags]
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert isinstance(done.exception, ZooError) and "items failed" in str(done.exception)
