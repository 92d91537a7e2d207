"""The grammars and the style table are data that can be wrong: every reference must resolve."""

from __future__ import annotations

import re
from random import Random

import pytest

from zoo.corpora import grammar, patterns, theory
from zoo.corpora.instruments import INSTRUMENTS
from zoo.corpora.score import METERS
from zoo.corpora.speakers import LANGUAGES
from zoo.corpora.styles import styles

SLOTS = {"players", "lead", "family", "crew", "style", "key", "tonality", "pace", "bpm", "meter", "drumming", "texture"}
SLOTS |= {"touch", "kind"}
REFERENCE = re.compile(r"\{([\w.]+)(?:/(\d))?\}")


@pytest.mark.parametrize("name", [*LANGUAGES, "captions"])
def test_every_reference_resolves(name: str) -> None:
    rules = grammar.load(name)
    for rule, alternatives in rules.rules.items():
        for alternative in alternatives:
            for reference, form in REFERENCE.findall(alternative):
                where = f"{name}: {rule} = {alternative}"
                if reference in rules.words:
                    assert all(len(entry) >= int(form or 1) for entry in rules.words[reference]), where
                else:
                    assert reference in rules.rules or (name == "captions" and reference in SLOTS), where
    assert not rules.rules.keys() & rules.words.keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_are_clean(language: str) -> None:
    rng = Random(0)
    sentences = [grammar.load(language).expand("sentence", rng) for _ in range(1000)]
    assert len(set(sentences)) > 850
    for sentence in sentences:
        assert not re.search(r"[{}_|/@=]|  |\s[.,;!](?!\S)", sentence.replace(" !", "!")), sentence
        assert not re.search(r"\d", sentence), sentence
        assert next(letter for letter in sentence if letter.isalpha()).isupper(), sentence
    words = {word.strip('.,;:!?"«»„“¿¡') for sentence in sentences for word in sentence.lower().split()}
    assert len(words) > 600


def test_english_articles() -> None:
    rng = Random(1)
    text = " ".join(grammar.load("en").expand("sentence", rng) for _ in range(2000)).lower()
    assert not re.search(r"\ba [aeio]", text)
    assert not re.search(r"\ban [bcdfgjklmnpqrstvwxz]", text)


def test_unknown_lines_are_refused() -> None:
    with pytest.raises(ValueError, match="neither"):
        grammar.Grammar("what is this")


def test_styles_name_what_exists() -> None:
    for style in styles():
        assert set(style.meters) <= METERS.keys(), style.name
        assert set(style.modes) <= theory.MODES.keys(), style.name
        assert {*style.leads, *style.chords, *style.bass} <= INSTRUMENTS.keys(), style.name
        assert all(INSTRUMENTS[name].chordal for name in style.chords), style.name
        assert all(INSTRUMENTS[name].low <= 60 for name in style.bass), style.name
        for figures, table in (
            (style.chord_figures, patterns.CHORDS),
            (style.bass_figures, patterns.BASS),
            (style.drum_figures, patterns.DRUMS),
        ):
            assert set(figures) <= table.keys(), style.name


def test_figures_fill_their_bar() -> None:
    for table in (patterns.CHORDS, patterns.BASS):
        for name, rows in table.items():
            for meter, row in rows.items():
                assert len(row) == METERS[meter].bar * 2, (name, meter)
    for name, kits in patterns.DRUMS.items():
        for meter, kit in kits.items():
            assert all(len(row) == METERS[meter].bar * 2 for row in kit.values()), (name, meter)


@pytest.mark.parametrize("mode", theory.MODES)
def test_phrases_begin_on_the_tonic_and_close_on_it(mode: str) -> None:
    rng = Random(2)
    for tonic in range(12):
        key = theory.Key(tonic, mode)
        for bars in (2, 4, 8):
            closed = theory.phrase(key, bars, closed=True, rng=rng)
            assert len(closed) == bars
            assert key.chord(closed[-1]).root == tonic
            opened = theory.with_open_ending(key, closed, rng)
            assert len(opened) == bars
            assert opened[:-2] == closed[:-2]
            assert key.chord(opened[-1]).root != tonic
            for symbol in closed + opened:
                chord = key.chord(symbol, seventh=True)
                assert set(chord.tones) <= set(key.scale(chord)) and len(set(key.scale(chord))) == 7
