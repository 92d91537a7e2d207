"""Normalizers: texts that become equal, and texts that do not."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import ConfigError
from zoo.text.normalizers import NORMALIZERS, normalizer, spellings

CASES = [
    ("raw", "  Hello,   World! ", "Hello, World!"),
    ("basic", "Hello, [noise] World (aside)!", "hello world"),
    ("basic", "Éléphant à 5 %", "éléphant à 5"),
    ("english", "Mr. Colour won't pay twenty-five dollars, um, today", "mister color will not pay $25 today"),
    ("english", "I've 1,000 dogs -- <laughs> honourable", "i have 1000 dogs honorable"),
]


@pytest.mark.parametrize(("name", "text", "expected"), CASES)
def test_known_texts(name: str, text: str, expected: str) -> None:
    assert normalizer(name)(text) == expected


def test_letters_become_words() -> None:
    assert normalizer("basic", split_letters=True)("日本語。") == "日 本 語"
    with pytest.raises(ConfigError, match="split_letters"):
        normalizer("english", split_letters=True)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'whisper' is unknown; choose one of raw, basic, english"):
        normalizer("whisper")


def test_spellings_are_words() -> None:
    table = spellings()
    assert len(table) > 1700 and table["colour"] == "color"
    assert all(key == key.strip().lower() and value for key, value in table.items())


@given(st.sampled_from(NORMALIZERS), st.text(max_size=80))
def test_any_text_gives_single_spaces(name: str, text: str) -> None:
    normalized = normalizer(name)(text)
    assert normalized == " ".join(normalized.split())


def test_importing_the_module_is_cheap() -> None:
    code = "import sys, zoo.text.normalizers; sys.exit(any(m in sys.modules for m in ('transformers', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
