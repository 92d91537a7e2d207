"""Normalizers: texts that become equal, and texts that do not."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.whisper.english_normalizer import BasicTextNormalizer

from zoo.errors import ConfigError
from zoo.text.normalizers import NORMALIZERS, normalizer, spellings


def nfkc_lower(text: str) -> str:
    return unicodedata.normalize("NFKC", text.lower()).lower()


CASES = [
    ("raw", "  Hello,   World! ", "Hello, World!"),
    ("basic", "Hello, [noise] World (aside)!", "hello world"),
    ("basic", "Éléphant à 5 %", "éléphant à 5"),
    ("basic", "हिन्दी में, लिखो!", "हिन्दी में लिखो"),
    ("basic", "தமிழ் மொழி", "தமிழ் மொழி"),
    ("basic", "ที่นี่ (ไทย)", "ที่นี่"),
    ("basic", "ẹ̀kọ́ Yorùbá", "ẹ̀kọ́ yorùbá"),
    ("basic", "مُحَمَّد", "محمد"),
    ("basic", "שָׁלוֹם", "שלום"),
    ("basic", "İstanbul", "istanbul"),
    ("basic", "ok ❤️ 1️⃣ yes", "ok 1 yes"),
    ("basic", "\u0301a", "a"),
    ("english", "Mr. Colour won't pay twenty-five dollars, um, today", "mister color will not pay $25 today"),
    ("english", "I've 1,000 dogs -- <laughs> honourable", "i have 1000 dogs honorable"),
]


@pytest.mark.parametrize(("name", "text", "expected"), CASES)
def test_known_texts(name: str, text: str, expected: str) -> None:
    assert normalizer(name)(text) == expected


@given(st.text(max_size=60).filter(lambda text: not any(unicodedata.category(c)[0] == "M" for c in nfkc_lower(text))))
def test_texts_without_combining_marks_are_as_in_transformers(text: str) -> None:
    assert normalizer("basic")(text) == " ".join(BasicTextNormalizer()(text).split())


@given(st.characters(categories=["Mn", "Mc", "Me"]))
def test_a_mark_makes_no_word(mark: str) -> None:
    assert len(normalizer("basic")(f"a{mark}b").split()) == 1


def test_letters_become_words() -> None:
    assert normalizer("basic", split_letters=True)("ที่นี่") == "ที่ นี่"
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
