"""Lines for people go to standard error, or to an application's logging."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from recordings import write_wav

import zoo.embed
from zoo.io import messages
from zoo.train import processes


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {record.levelname} {record.getMessage()}")


@pytest.fixture
def handler() -> Iterator[Kept]:
    kept = Kept()
    messages.logger.addHandler(kept)
    messages.logger.setLevel("INFO")
    yield kept
    messages.logger.removeHandler(kept)
    messages.logger.setLevel(logging.NOTSET)


def _embed(folder: Path) -> None:
    write_wav(folder / "a [b] with a long name.wav", 0.3)
    (folder / "broken.wav").write_bytes(b"RIFF????")
    zoo.embed.run(folder, "logmel", folder / "vectors")


def test_without_a_handler_lines_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _embed(tmp_path)
    processes.say("step 3")
    printed = capsys.readouterr()
    assert "1 items embedded" in printed.err and "1 failed; the reasons are in" in printed.err
    assert printed.err.endswith("step 3\n") and printed.out == ""


def test_an_application_gets_records_instead(tmp_path: Path, capsys: pytest.CaptureFixture[str], handler: Kept) -> None:
    _embed(tmp_path)
    processes.say("50 % [of it] done")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert len(handler.lines) > 2 and all(line.startswith("zoo INFO ") for line in handler.lines)
    assert any(f"{tmp_path / 'vectors'}: 1 items embedded" in line for line in handler.lines)
    assert handler.lines[-1] == "zoo INFO 50 % [of it] done"


def test_a_level_alone_sends_records_to_the_root_logger(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level("INFO", logger="zoo"):
        processes.say("step 4")
    assert caplog.messages == ["step 4"] and capsys.readouterr().err == ""
