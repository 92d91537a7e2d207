"""The `zoo` command on the command line."""

from __future__ import annotations

import errno
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import soundfile
from small import noise, small
from typer.testing import CliRunner

from zoo import __version__ as zoo_version
from zoo import registry
from zoo.cli.main import app
from zoo.errors import TrainingStopped
from zoo.io.terminal import readable_errors


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


@pytest.mark.parametrize(
    ("stop", "status"),
    [
        (TrainingStopped("stopped by SIGINT after step 3", signal.SIGINT), 130),
        (TrainingStopped("stopped by SIGTERM after step 3", signal.SIGTERM), 143),
        (KeyboardInterrupt(), 130),
    ],
)
def test_a_run_that_a_signal_ends_is_no_error(
    stop: BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, readable_errors():
        raise stop
    assert ended.value.code == status
    printed = capsys.readouterr().err
    assert printed.startswith("stopped by SIG") and "error" not in printed and printed.count("\n") == 1


def test_what_stopped_a_run_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(TrainingStopped("after step 3", signal.SIGINT)))
    assert str(copy) == "after step 3" and copy.signal == signal.SIGINT


def test_warnings_are_one_line_without_source_code(capsys: pytest.CaptureFixture[str]) -> None:
    before = warnings.showwarning
    with readable_errors():
        warnings.warn("1 of 3 clips cannot be read", stacklevel=1)
    assert capsys.readouterr().err == "warning: 1 of 3 clips cannot be read\n" and warnings.showwarning is before


def test_the_version_is_printed() -> None:
    assert zoo_version == zoo("--version").stdout.split()[-1]


@pytest.mark.slow
def test_errors_of_the_system_are_one_line_with_the_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", noise(0.5).numpy(), 16_000)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    done = zoo("units", tmp_path / "one.wav", "-m", "hubert", "-o", tmp_path / "folder", code=1)
    assert done.stderr.startswith(f"error: {tmp_path}/folder: Is a directory; ") and done.stderr.count("\n") == 1
    done = zoo("units", tmp_path / "one.wav", "-m", "hubert", "-o", tmp_path / "file" / "units", code=1)
    assert done.stderr.startswith(f"error: {tmp_path}/file") and done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("command_name", ["embed", "index"])
def test_the_error_for_a_full_disk_is_one_line(tmp_path: Path, command_name: str) -> None:
    """A limit of the file size makes the same calls fail in the same way as a full disk."""
    soundfile.write(tmp_path / "one.wav", noise(0.5).numpy(), 16_000)
    command = [
        sys.executable,
        "-m",
        "zoo",
        command_name,
        tmp_path / "one.wav",
        "-m",
        "mfcc",
        "-o",
        tmp_path / "out",
        "-q",
    ]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (60, 60))
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 1 and "File too large" in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_errors_of_the_system_say_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    for error, words in (
        (OSError(errno.ENOSPC, "No space left on device"), "error: No space left on device; free some space and run "),
        (OSError(errno.EROFS, "Read-only file system", "/mnt/x"), "error: /mnt/x: Read-only file system; write to "),
        (OSError("no Arrow"), "error: no Arrow\n"),
        (TimeoutError(), "error: TimeoutError\n"),
    ):
        with pytest.raises(SystemExit, match="1"), readable_errors():
            raise error
        assert capsys.readouterr().err.startswith(words)
    with pytest.raises(BrokenPipeError), readable_errors():  # no error of the command
        raise BrokenPipeError


def test_embed_writes_parquet_and_lists_failures(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "good.wav", noise(0.5).numpy(), 16_000)
    (tmp_path / "bad.wav").write_text("not audio")
    out = tmp_path / "out"
    zoo("embed", tmp_path / "*.wav", "-m", "mfcc", "-o", out, "--pooling", "stats")
    table = pq.read_table(out / "part-00000.parquet")
    assert [Path(p).name for p in table["path"].to_pylist()] == ["good.wav"]
    assert len(table["embedding"][0].as_py()) == 78
    failure = json.loads((out / "_errors.jsonl").read_text())
    assert failure["path"].endswith("bad.wav") and failure["reason"]
    zoo("embed", tmp_path / "*.wav", "-m", "mfcc", "-o", out, "--pooling", "stats", "--fail-on-error", code=1)
    done = zoo("embed", tmp_path / "bad.wav", "-m", "mfcc", "-o", tmp_path / "none", code=1)
    assert "no item could be embedded" in done.stderr and "error: 1 of 1 items failed" in done.stderr


def test_describe_works_for_a_table_and_a_folder(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", noise(0.5).numpy(), 16_000)
    (tmp_path / "list.csv").write_text("audio,mood\none.wav,calm\n")
    for source in (tmp_path / "list.csv", tmp_path):
        done = CliRunner().invoke(app, ["corpora", "describe", str(source)])
        assert done.exit_code == 0 and '"clips": 1' in done.output, done.output
    assert '"calm": 1' in CliRunner().invoke(app, ["corpora", "describe", str(tmp_path / "list.csv")]).output


def test_convert_makes_a_checkpoint_that_loads(tmp_path: Path) -> None:
    small("hubert-base").save(tmp_path / "one")
    done = CliRunner().invoke(app, ["convert", str(tmp_path / "one"), str(tmp_path / "two")])
    assert done.exit_code == 0 and small("hubert-base").fingerprint() in done.stdout
    assert (tmp_path / "two" / "model.safetensors").is_file()
    assert CliRunner().invoke(app, ["convert", "logmel", str(tmp_path / "three")]).exit_code == 0
    assert "name: logmel" in (tmp_path / "three" / "config.yaml").read_text()


def test_output_that_is_not_utf8_escapes_what_it_lacks() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, "-m", "zoo", "card", "hubert"], capture_output=True, env=environment)
    assert done.returncode == 0 and done.stdout.decode("latin-1").startswith("# hubert-mini")


def test_control_characters_of_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    done = zoo("card", "\x1b[31mred", code=1)
    assert "\x1b[31m" not in done.stderr and "\\x1b[31mred" in done.stderr


def test_a_pattern_without_a_match_is_an_error_and_h_is_help() -> None:
    assert "no registered name matches 'whisper-x'" in zoo("list", "whisper-x", code=1).stderr
    names = [card["name"] for card in json.loads(zoo("list", "Whisper-T", "--json").stdout)]
    assert names == registry.list_models("whisper-t*") and len(names) > 1
    assert "did you mean whisper-tiny" in zoo("info", "whisper-t", code=1).stderr
    assert "Usage" in zoo("-h").stdout


@pytest.mark.parametrize("words", [["embed"], ["transcribe"], ["bench", "run"], ["corpora", "build"]])
def test_help_has_room_for_its_text_on_80_columns(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = CliRunner().invoke(app, [*words, "--help"])
    lines = done.output.splitlines()
    assert done.exit_code == 0 and max(map(len, lines)) <= 80
    texts = [line[35:] for line in lines if line.startswith("  -")]
    assert texts and not any("…" in line or "│" in line for line in lines)
    assert "Usage:" in done.output and "Options:" in done.output
