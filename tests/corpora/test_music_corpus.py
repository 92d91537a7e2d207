from __future__ import annotations

# ruff: noqa: E402
import io
import re
from dataclasses import replace
from random import Random

import numpy as np
import pytest

pretty_midi = pytest.importorskip("pretty_midi")
pytest.importorskip("midirenderer")

from zoo.corpora import captions, render
from zoo.corpora.compose import compose, tempo_word
from zoo.corpora.instruments import INSTRUMENTS
from zoo.corpora.music import CLIP_SECONDS, _all_parts_sound, make
from zoo.corpora.score import Composition, InstrumentPart, Note
from zoo.corpora.theory import MODES

PIECES = 200
TEMPO_WORDS = {
    "slow": ("slow", "unhurried", "leisurely"),
    "medium": ("medium", "moderate", "mid-tempo"),
    "fast": ("fast", "quick", "brisk"),
}
# Krumhansl and Kessler's probe-tone profiles: how well each pitch class fits a key.
PROFILES = {
    "major": [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
    "minor": [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17],
}


@pytest.fixture(scope="module")
def pieces() -> list[Composition]:
    return [compose(Random(f"test {number}")) for number in range(PIECES)]


def key_rank(histogram: np.ndarray, tonic: int, mode: str) -> int:
    """How many keys fit a pitch-class histogram (12,) better than the given one."""
    family = "minor" if mode in ("minor", "dorian") else "major"
    fits = {
        (t, m): np.corrcoef(np.roll(profile, t), histogram)[0, 1] for m, profile in PROFILES.items() for t in range(12)
    }
    return sum(fit > fits[tonic, family] for fit in fits.values())


def histogram(piece: Composition) -> np.ndarray:
    counts = np.zeros(12)
    for part in piece.parts:
        if part.role != "drums":
            for note in part.notes:
                counts[note.pitch % 12] += note.length
    return counts


def test_labeled_key_is_the_key_of_the_notes(pieces: list[Composition]) -> None:
    ranks = np.array([key_rank(histogram(piece), piece.key.tonic, piece.key.mode) for piece in pieces])
    assert np.mean(ranks == 0) > 0.8
    assert np.mean(ranks <= 2) > 0.95
    in_scale = []
    for piece in pieces:
        counts = histogram(piece)
        scale = [(piece.key.tonic + step) % 12 for step in MODES[piece.key.mode]]
        in_scale.append(counts[scale].sum() / counts.sum())
    assert np.median(in_scale) > 0.95


def test_scores_are_playable(pieces: list[Composition]) -> None:
    for piece in pieces:
        assert 20 < piece.seconds < 45
        assert len(piece.chords) % len(piece.form) == 0
        for part in piece.parts:
            for note in part.notes:
                assert 1 <= note.velocity <= 127
                assert note.length > 0
                assert 0 <= note.start < len(piece.chords) * piece.meter.bar
                if part.role != "drums":
                    top = part.instrument.high + (12 if part.role == "bass" else 0)
                    assert part.instrument.low <= note.pitch <= max(top, 76), (part.instrument.name, note.pitch)
        names = [part.instrument.name for part in piece.parts]
        assert len(set(names)) == len(names) or piece.texture == "melody with accompaniment"


def test_variety(pieces: list[Composition]) -> None:
    facts = [captions.labels(piece) for piece in pieces]
    assert len({fact["instrument"] for fact in facts}) > 30
    assert len({fact["family"] for fact in facts}) == 8
    assert len({fact["key"] for fact in facts}) > 30
    assert len({fact["style"] for fact in facts}) == 17
    assert {fact["meter"] for fact in facts} == {"2/4", "3/4", "4/4", "6/8"}
    for column, least in (("tempo", 0.15), ("drums", 0.3)):
        values = [fact[column] for fact in facts]
        assert min(values.count(value) for value in set(values)) > least * PIECES
    progressions = {" ".join(chord.symbol for chord in piece.chords) for piece in pieces}
    tunes = {tuple((note.start, note.pitch - piece.key.tonic) for note in piece.lead.notes) for piece in pieces}
    assert len(progressions) > 0.6 * PIECES
    assert len(tunes) == PIECES


def test_melodies_move_and_return(pieces: list[Composition]) -> None:
    for piece in pieces:
        if piece.texture == "chorale":
            continue
        pitches = np.array([note.pitch for note in piece.lead.notes])
        assert len(set(pitches)) >= 3
        assert np.mean(np.abs(np.diff(pitches)) <= 4) > 0.4  # mostly steps
        assert pitches.max() - pitches.min() <= 24
    again = [piece for piece in pieces if piece.form.startswith("AAB") and piece.texture != "chorale"]
    bar = [[(n.start, n.length) for n in piece.lead.notes if n.start < piece.meter.bar] for piece in again]
    half = [len(piece.chords) // len(piece.form) * piece.meter.bar for piece in again]
    second = [
        [(n.start - start, n.length) for n in piece.lead.notes if start <= n.start < start + piece.meter.bar]
        for piece, start in zip(again, half, strict=True)
    ]
    assert np.mean([np.allclose(a, b) if len(a) == len(b) else False for a, b in zip(bar, second, strict=True)]) > 0.5


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_captions_state_true_facts(pieces: list[Composition], split: str) -> None:
    names = sorted(INSTRUMENTS, key=len, reverse=True)
    for number, piece in enumerate(pieces):
        playing = {part.instrument.name for part in piece.parts}
        drums = any(part.role == "drums" and part.notes for part in piece.parts)
        for caption in captions.captions(piece, split, Random(f"{split} {number}")):
            keys = re.findall(r"\b[A-G](?: flat| sharp)? (?:major|minor|dorian|mixolydian)\b", caption)
            assert set(keys) <= {piece.key.name}, caption
            said = caption.lower()
            rest = caption.replace(piece.key.name, "").lower()
            assert set(re.findall(r"\b(major|minor|dorian|mixolydian)\b", rest)) <= {piece.key.mode}, caption
            assert set(re.findall(r"\d/\d", said)) <= {piece.meter.name}, caption
            assert set(re.findall(r"\b\d{2,3}\b", said)) <= {str(piece.bpm)}, caption
            for tempo, words in TEMPO_WORDS.items():
                if tempo != tempo_word(piece.bpm):
                    assert not re.search(rf"\b({'|'.join(words)})\b", said), caption
            for name in names:
                if re.search(rf"\b{name.lower()}\b", rest):
                    assert name in playing, caption
                    rest = rest.replace(name.lower(), "")
            assert drums or "drum" not in rest, caption
            assert ("solo" in said) <= (len(playing) == 1), caption
            assert any(word in said for word in ("detached", "staccato", "clipped")) <= (
                piece.articulation == "staccato"
            )
            assert not re.search(r"[{}]|  |\ba [aeio]|\ban [bcdfg]|\. \.|,\.", said), caption
            assert caption[0].isupper() or caption[0].isdigit(), caption


def test_midi_says_what_the_labels_say(pieces: list[Composition]) -> None:
    for piece in pieces[:40]:
        for part in piece.parts:
            midi = pretty_midi.PrettyMIDI(io.BytesIO(render._midi(piece, part, 40, 0)))
            _, tempi = midi.get_tempo_changes()
            assert tempi[0] / piece.meter.beat == pytest.approx(piece.bpm, rel=1e-4)
            (track,) = midi.instruments
            assert track.is_drum == (part.role == "drums")
            assert track.is_drum or track.program in part.instrument.programs
            assert len(track.notes) == len(part.notes)
            assert max(note.end for note in track.notes) < piece.seconds + 1.0


def test_the_lead_is_heard_above_each_other_part(pieces: list[Composition]) -> None:
    levels = render._LEVELS
    assert all(high < 0 for role, (_, high) in levels.items() if role != "lead")
    piece = next(piece for piece in pieces if len(piece.parts) >= 4)
    stems = [render.render_part(piece, part, 40, 0) for part in piece.parts]
    assert all(render.loudness(stem) > 1e-3 for stem in stems)


@pytest.mark.parametrize(
    "name",
    [
        "piano",
        "violin",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("trumpet", "acoustic guitar", "flute", "string ensemble")),
    ],
)
def test_instruments_are_in_tune(pieces: list[Composition], name: str) -> None:
    """A held note's strongest partial lies on its harmonic series: some renderers play the soundfont out of tune."""
    instrument = INSTRUMENTS[name]
    for pitch in range(max(instrument.low, 50), min(instrument.high, 80), 9):
        part = InstrumentPart("lead", instrument, instrument.programs[0], [Note(0.0, 4.0, pitch, 90)])
        wave = render.render_part(replace(pieces[0], bpm=100, parts=[part]), part, 0, 0)[2400:26400]
        power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 8 * len(wave)))
        peak = power.argmax() * render.SAMPLE_RATE / (8 * len(wave))
        fundamental = 440 * 2 ** ((pitch - 69) / 12)
        harmonic = max(1, round(peak / fundamental))
        assert abs(1200 * np.log2(peak / (harmonic * fundamental))) < 35, (name, pitch, peak, fundamental)


def test_clips_of_a_piece(pieces: list[Composition]) -> None:
    clips = make("tiny", 5, "test", 1)
    assert len(clips) >= 2
    assert {clip.labels["piece"] for clip in clips} == {"test-00001"}
    assert all(len(clip.wave) == CLIP_SECONDS * 24000 for clip in clips)
    assert all(len(clip.captions) >= 4 and len(set(clip.captions)) >= 3 for clip in clips)
    assert sum(len(make_spans(piece)) for piece in pieces) > 2 * PIECES


def make_spans(piece: Composition) -> list[int]:
    return [n for n in range(int(piece.seconds // CLIP_SECONDS)) if _all_parts_sound(piece, n * 10, n * 10 + 10)]
