"""Languages by code and by name."""

from __future__ import annotations

import pytest

from zoo.text.languages import CODES, LANGUAGES, language_code


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("es", "es"),
        ("ES", "es"),
        ("Spanish", "es"),
        (" castilian ", "es"),
        ("Haitian Creole", "ht"),
        ("Klingon", "Klingon"),
        ("", ""),
    ],
)
def test_codes_and_names(language: str, code: str) -> None:
    assert language_code(language) == code


def test_every_code_has_a_name() -> None:
    assert set(CODES.values()) == set(LANGUAGES) and len(LANGUAGES) == 100
    assert LANGUAGES[:3] == ("en", "zh", "de") and LANGUAGES[-1] == "yue"
