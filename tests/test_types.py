"""Type checkers and editors know what the public calls take and give."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from zoo import registry
from zoo.models.ctc.keywords import TranscribeOptions as CtcKeywords
from zoo.models.ctc.transcription import CtcOptions
from zoo.models.whisper.decoding.options import DecodingOptions
from zoo.models.whisper.keywords import TranscribeOptions as WhisperKeywords
from zoo.models.whisper.longform import LongformOptions

TOP = Path(__file__).resolve().parents[1]
FOLDERS = sorted(path.parent.name for path in (TOP / "zoo" / "models").glob("*/cards.py"))
TYPED = [folder for folder in FOLDERS if hasattr(import_module(f"zoo.models.{folder}.cards"), "Name")]


@pytest.mark.parametrize("folder", TYPED)
def test_the_names_in_a_folder_are_those_of_its_cards(folder: str) -> None:
    cards = import_module(f"zoo.models.{folder}.cards")
    short = [folder] if folder in registry._short_names else []
    assert list(get_args(cards.Name)) == [*short, *(card.name for card in cards.CARDS)], (
        f"write them in {cards.__file__}"
    )


def test_the_keywords_of_transcribe_are_its_options() -> None:
    whisper = {field.name for field in (*fields(LongformOptions), *fields(DecodingOptions))}
    whisper = whisper - {"decoding", "temperatures"} | {"temperature", "language", "prompt", "prefix", "progress"}
    assert set(WhisperKeywords.__annotations__) == whisper
    ctc = {field.name for field in fields(CtcOptions)}
    assert set(CtcKeywords.__annotations__) == ctc | {"language", "progress"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests, as mypy keeps in it what it found out about zoo."""
    return tmp_path_factory.mktemp("user")


def _mypy(code: str, folder: Path) -> str:
    """What mypy says of a user's file."""
    (folder / "user.py").write_text(code)
    options = ["--strict", "--follow-imports=silent", "--cache-dir", str(folder / "cache")]
    command = [sys.executable, "-m", "mypy", *options, "user.py"]
    environment = {**os.environ, "MYPYPATH": str(TOP)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.stdout


@pytest.mark.slow
def test_the_lines_of_readme_pass_mypy(folder: Path) -> None:
    examples = doctest.DocTestParser().get_examples((TOP / "README.md").read_text(encoding="utf-8"))
    code = "".join(example.source for example in examples)
    assert code.count("zoo.load(") == 3
    assert _mypy(code, folder).startswith("Success")


@pytest.mark.slow
def test_mypy_finds_wrong_names_and_options(folder: Path) -> None:
    code = """
import zoo
from zoo.models.hubert.model import HuBERT

zoo.load("whisper").transcribe("a.wav", beam_sizes=5)
zoo.load("mulan").transcribe("a.wav")
zoo.load("logmel").units("a.wav")
model: HuBERT = zoo.load("hubert-base", dtype="bfloat16")
text: int = zoo.load("whisper").transcribe("a.wav", word_timestamps=True)
zoo.load("some/folder").embed("a.wav")
"""
    said = _mypy(code, folder)
    lines = {int(line.split(":")[1]) for line in said.splitlines() if ": error:" in line}
    assert lines == {5, 6, 7, 9}, said
