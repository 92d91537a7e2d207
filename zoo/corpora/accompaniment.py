"""Accompaniment: the figures of `patterns`, applied to the chords."""

from __future__ import annotations

from random import Random

from zoo.corpora import patterns
from zoo.corpora.instruments import Instrument
from zoo.corpora.score import Meter, Note
from zoo.corpora.theory import Chord, Key

_EIGHTH = 0.5


def chords(figure: str, meter: Meter, harmony: list[Chord], instrument: Instrument, rng: Random) -> list[Note]:
    """The chords, played with a figure; each is voiced near the one before."""
    low, high = max(instrument.low, 48), min(instrument.high, 76)
    notes: list[Note] = []
    voiced: list[int] = []
    for bar, chord in enumerate(harmony):
        voiced = chord.voicing(voiced, low, high)
        for start, length, sign in _hits(patterns.CHORDS[figure][meter.name]):
            pitches = [voiced[int(sign) % len(voiced)]] if sign.isdigit() else voiced
            softness = 12 if sign == "c" else 0
            for pitch in pitches:
                notes.append(Note(bar * meter.bar + start, length * 0.95, pitch, 76 - softness + rng.randint(-5, 5)))
    return notes


def bass(figure: str, meter: Meter, harmony: list[Chord], key: Key, instrument: Instrument, rng: Random) -> list[Note]:
    """The bass line."""
    notes: list[Note] = []
    for bar, chord in enumerate(harmony):
        root = _within(chord.root, instrument)
        upcoming = _within(harmony[(bar + 1) % len(harmony)].root, instrument)
        pitches = {
            "R": root,
            "F": _within((chord.root + 7) % 12 if (chord.root + 7) % 12 in chord.tones else chord.tones[2], instrument),
            "T": _within(chord.tones[1], instrument),
            "O": root + 12,
            "A": upcoming - 1 if upcoming > root else upcoming + 1,
            "P": _within(key.tonic, instrument),
        }
        for start, length, sign in _hits(patterns.BASS[figure][meter.name]):
            velocity = 82 + rng.randint(-5, 5)
            notes.append(Note(bar * meter.bar + start, length * 0.95, pitches[sign], velocity))
    return notes


def drums(figure: str, meter: Meter, bars: int, rng: Random) -> list[Note]:
    """The beat, with a fill at the end of every fourth bar."""
    notes: list[Note] = []
    for bar in range(bars):
        fill = bar % 4 == 3 and rng.random() < 0.6
        for key, row in patterns.DRUMS[figure][meter.name].items():
            for start, _, sign in _hits(row):
                if not (fill and start >= meter.bar - meter.beat):
                    velocity = (96 if sign == "X" else 66) + rng.randint(-6, 6)
                    notes.append(Note(bar * meter.bar + start, 0.25, key, velocity))
        if fill:
            step = meter.beat / 4 if meter.beat == 1 else meter.beat / 3
            for index in range(round(meter.beat / step)):
                start = (bar + 1) * meter.bar - meter.beat + index * step
                notes.append(Note(start, 0.25, rng.choice([38, 45, 47, 50]), 84 + rng.randint(-8, 8)))
    return notes


def chorale(melody: list[Note], meter: Meter, harmony: list[Chord], instrument: Instrument) -> list[Note]:
    """Up to three voices below every note of a melody, from the chord of its bar."""
    notes: list[Note] = []
    for note in melody:
        chord = harmony[min(int(note.start // meter.bar), len(harmony) - 1)]
        below = [pitch for pitch in range(note.pitch - 3, instrument.low - 1, -1) if pitch % 12 in chord.tones]
        inner = below[:2]
        lowest = [pitch for pitch in below[2:] if pitch % 12 == chord.root] or below[2:]
        notes += [Note(note.start, note.length, pitch, max(1, note.velocity - 10)) for pitch in [*inner, *lowest[:1]]]
    return notes


def _hits(row: str) -> list[tuple[float, float, str]]:
    """A row of signs -> start and length in quarter notes, and the sign."""
    hits = []
    for index, sign in enumerate(row):
        if sign not in ".-":
            length = 1
            while index + length < len(row) and row[index + length] == "-":
                length += 1
            hits.append((index * _EIGHTH, length * _EIGHTH, sign))
    return hits


def _within(pitch_class: int, instrument: Instrument) -> int:
    """The lowest pitch of a pitch class in the range of the instrument."""
    return instrument.low + (pitch_class - instrument.low) % 12
