"""`zoo transcribe` from end to end: errors, progress, the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import soundfile
from audio_files import write_container
from rich.console import Console
from small import SMALL, noise, small
from small_whisper import small_whisper
from typer.testing import CliRunner

import zoo
from zoo.audio import load
from zoo.cli.main import app
from zoo.errors import AudioError, ConfigError, ZooError
from zoo.models.whisper.model import Whisper
from zoo.transcribe import run

PLAIN = {"vad": "none", "temperature": 0.0, "language": "en"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "whisper"
    small_whisper().save(path)
    return path


def test_files_hold_the_text_of_the_model(corpus: Path, tmp_path: Path) -> None:
    output = io.StringIO()
    summary = run(
        corpus, small_whisper(), tmp_path / "out", formats="all", progress=Console(file=output, width=200), **PLAIN
    )
    assert (summary.written, summary.skipped, summary.failed) == (4, 0, 1)
    for name in ("a/one", "a/two", "b/one", "b/three"):
        path = next(corpus.glob(f"{name}.*"))
        alone = small_whisper().transcribe(load(path, 16_000), 16_000, **PLAIN)
        assert json.loads((tmp_path / "out" / f"{name}.json").read_text())["text"] == alone.text
        assert {p.suffix for p in (tmp_path / "out").glob(f"{name}.*")} == {".txt", ".srt", ".vtt", ".json", ".tsv"}
    (failed,) = [json.loads(line) for line in (tmp_path / "out" / "_errors.jsonl").read_text().splitlines()]
    assert failed["path"].endswith("broken.wav") and "not audio" in failed["reason"]
    assert "4 recordings" in output.getvalue() and "1 failed" in output.getvalue()


def test_a_recording_that_the_model_refuses_does_not_stop_its_group(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Whisper.transcribe

    def picky(self: Whisper, waves: list, *args: object, **options: object) -> object:
        if any(len(wave) == int(0.9 * 16_000) for wave in waves):
            raise AudioError("waveform 0", "sounds odd")
        return whole(self, waves, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Whisper, "transcribe", picky)
    summary = run(corpus, small_whisper(), tmp_path / "out", progress=False, **PLAIN)
    assert (summary.written, summary.failed) == (3, 2)
    assert "sounds odd" in (tmp_path / "out" / "_errors.jsonl").read_text()
    (corpus / "b" / "broken.wav").unlink()
    monkeypatch.undo()
    assert run(corpus, small_whisper(), tmp_path / "out", progress=False, **PLAIN).written == 1
    assert not (tmp_path / "out" / "_errors.jsonl").exists()


def test_models_that_cannot_transcribe_are_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mfcc cannot transcribe; use a Whisper"):
        run(corpus, small("mfcc"), tmp_path / "out", progress=False)
    with pytest.raises(ConfigError, match="workers 0"):
        run(corpus, small_whisper(), tmp_path / "out", workers=0, progress=False)
    headless = zoo.create("hubert-base", **SMALL["hubert"])
    refused = [(headless, {}, "has no CTC head"), (headless, {"beam_size": 0}, "beam_size 0")]
    for options, words in (
        ({"beams": 3}, "unknown option 'beams': it is called beam_size here"),
        ({"language": "klingon"}, "'klingon' is unknown"),
        ({"language": ["en", "de"]}, "language .* one code"),
        ({"condition_on_previous_text": True}, "needs mode"),
        ({"temperature": "warm"}, "temperature 'warm'"),
    ):
        refused.append((small_whisper(), options, words))
    for model, options, words in refused:
        with pytest.raises(ConfigError, match=words):
            run(corpus, model, tmp_path / "out", progress=False, **options)
    with pytest.raises(ZooError, match="no such file"):
        run(tmp_path / "nothing.wav", small_whisper(), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_the_command(corpus: Path, directory: Path, tmp_path: Path) -> None:
    runner, out = CliRunner(), tmp_path / "out"
    begin = [
        "transcribe",
        str(corpus / "a"),
        "-m",
        str(directory),
        "-o",
        str(out),
        "--dtype",
        "float32",
        "--vad",
        "none",
    ]
    done = runner.invoke(app, [*begin, "-f", "srt,json", "--temperature", "0", "--words", "--language", "en"])
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in out.iterdir()) == ["_transcripts.jsonl", "one.json", "one.srt", "two.json", "two.srt"]
    segments = json.loads((out / "one.json").read_text())["segments"]
    assert all(segment["words"] for segment in segments)


def test_failures_make_the_exit_status(corpus: Path, directory: Path, tmp_path: Path) -> None:
    begin = ["transcribe", str(corpus), "-m", str(directory), "-o", str(tmp_path / "out"), "--vad", "none", "-q"]
    assert CliRunner().invoke(app, [*begin, "--temperature", "0"]).exit_code == 0
    assert (tmp_path / "out" / "a" / "one.txt").exists()
    failed = CliRunner().invoke(app, [*begin, "--temperature", "0", "--fail-on-error"])
    assert isinstance(failed.exception, ZooError) and "1 of 5 items failed" in str(failed.exception)
    begin[1], begin[5] = str(corpus / "b" / "broken.wav"), str(tmp_path / "none")
    none = CliRunner().invoke(app, [*begin, "--temperature", "0"])
    assert isinstance(none.exception, ZooError) and "1 of 1 items failed" in str(none.exception)
    wrong = CliRunner().invoke(app, [*begin, "--temperature", "warm"])
    assert isinstance(wrong.exception, ConfigError) and "temperature 'warm'" in str(wrong.exception)


def test_video_is_transcribed_with_pyav(tmp_path: Path) -> None:
    pytest.importorskip("av")
    write_container(tmp_path / "film.mkv", "flac", noise(1.0)[:, None].numpy(), 16_000, picture=True)
    summary = run(tmp_path / "film.mkv", small_whisper(), tmp_path / "out", progress=False, **PLAIN)
    assert summary.written == 1 and summary.audio_hours == pytest.approx(1 / 3600, rel=0.01)


def test_spans_of_a_manifest(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", noise(4.0).numpy(), 16_000)
    line = {"audio": "long.wav", "duration": 1.0, "split": "test", "start": 1.0, "end": 2.0}
    (tmp_path / "list.jsonl").write_text(json.dumps(line) + "\n")
    assert run(tmp_path / "list.jsonl", small_whisper(), tmp_path / "out", progress=False, **PLAIN).written == 1
    assert (tmp_path / "out" / "long.1-2.txt").exists()
