"""Melodies: a motif of one bar, developed over the chords of a phrase.

A motif is a rhythm and a walk along the scale. Development repeats, shifts (sequence), inverts, ornaments or replaces
it; what makes it fit is that strong beats are drawn to the tones of the chord, and that phrases close on them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

from zoo.corpora.instruments import Instrument
from zoo.corpora.score import Meter, Note
from zoo.corpora.theory import Chord, Key

_CELLS: dict[float, list[list[float]]] = {  # beat length -> rhythms that fill one or two beats, in beats
    1.0: [[1], [0.5, 0.5], [0.75, 0.25], [0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [2], [1.5, 0.5], [0.5, 1, 0.5]],
    1.5: [[1], [2 / 3, 1 / 3], [1 / 3, 1 / 3, 1 / 3], [0.5, 1 / 6, 1 / 3], [2], [5 / 3, 1 / 3]],
}
_PENTATONIC = {
    "major": (0, 2, 4, 7, 9),
    "mixolydian": (0, 2, 4, 7, 10),
    "minor": (0, 3, 5, 7, 10),
    "dorian": (0, 3, 5, 7, 10),
}
_PLANS = ["a a b c", "a s s c", "a b a c", "a i a c", "a o b c", "a a s c", "a b b c", "a r s c"]


@dataclass(frozen=True)
class Motif:
    """durations: quarter notes, filling a bar; steps: along the scale, from note to note; shift: of the whole."""

    durations: tuple[float, ...]
    steps: tuple[int, ...]
    shift: int = 0


@dataclass(frozen=True)
class Player:
    """Who plays the melody, and how. density: notes a beat, roughly. gate: share of a note's length that sounds."""

    instrument: Instrument
    key: Key
    meter: Meter
    density: float
    pentatonic: bool
    gate: float


def invent(meter: Meter, density: float, rng: Random) -> Motif:
    """A new motif of one bar."""
    durations: list[float] = []
    beats = round(meter.bar / meter.beat)
    while (left := beats - sum(durations)) > 1e-6:
        cells = [cell for cell in _CELLS[meter.beat] if sum(cell) <= left + 1e-6]
        weights = [math.exp(-1.4 * abs(math.log2(len(cell) / sum(cell) / density))) for cell in cells]
        durations += rng.choices(cells, weights)[0]
    steps: list[int] = []
    for _ in durations:
        leapt = steps and abs(steps[-1]) > 2
        steps.append(
            -int(math.copysign(1, steps[-1])) if leapt else rng.choice([-3, -2, -1, -1, -1, 0, 1, 1, 1, 2, 3, 4])
        )
    return Motif(tuple(duration * meter.beat for duration in durations), tuple(steps))


def plan(bars: int, meter: Meter, density: float, rng: Random) -> list[Motif]:
    """The motifs of a phrase: a first, b other, s shifted, i inverted, o ornamented, r the rhythm alone, c a close."""
    first, second = invent(meter, density, rng), invent(meter, density, rng)
    shift, direction = 0, rng.choice([-1, 1, 1, 2])
    motifs = []
    letters = rng.choice(_PLANS).split()
    for letter in [letters[bar % 4] if bar != bars - 1 else "c" for bar in range(bars)]:
        if letter == "s":
            shift += direction
            motifs.append(replace(first, shift=shift))
        elif letter == "i":
            motifs.append(replace(first, steps=tuple(-step for step in first.steps)))
        elif letter == "r":
            motifs.append(Motif(first.durations, tuple(rng.choice([-2, -1, 0, 1, 2]) for _ in first.steps)))
        elif letter == "c":
            motifs.append(_close(meter, density, rng))
        else:
            motifs.append({"a": first, "b": second, "o": ornament(first, rng)}[letter])
    return motifs


def ornament(motif: Motif, rng: Random) -> Motif:
    """The same with its longest note split into a turn to the neighbor and back."""
    longest = max(range(len(motif.durations)), key=lambda index: motif.durations[index])
    length = motif.durations[longest]
    if length < 0.99:
        return motif
    step = rng.choice([-1, 1])
    durations = (*motif.durations[:longest], length / 2, length / 2, *motif.durations[longest + 1 :])
    steps = (*motif.steps[:longest], step, motif.steps[longest] - step, *motif.steps[longest + 1 :])
    return replace(motif, durations=durations, steps=steps)


def play(singer: Player, motifs: list[Motif], chords: list[Chord], lift: int, closed: bool, rng: Random) -> list[Note]:
    """Motifs over chords, one a bar -> notes from beat 0. lift: semitones above the middle of the range to start at."""
    low, high = singer.instrument.low, singer.instrument.high
    middle = (low + high) // 2
    reach = min(11, (high - low) // 2)  # stay within about an octave and a half
    notes: list[Note] = []
    pitch = middle + lift
    for bar, (motif, chord) in enumerate(zip(motifs, chords, strict=True)):
        scale = singer.key.scale(chord)
        if singer.pentatonic:
            scale = [(singer.key.tonic + step) % 12 for step in _PENTATONIC[singer.key.mode]] + list(chord.tones)
        ladder = [p for p in range(middle - reach, middle + reach + 1) if p % 12 in scale]
        anchor = pitch if bar else middle + lift
        place = _nearest(ladder, anchor + 2 * motif.shift, chord.tones)
        start = 0.0
        last_bar = bar == len(motifs) - 1
        for index, (length, step) in enumerate(zip(motif.durations, motif.steps, strict=True)):
            strong = abs(start % singer.meter.beat) < 1e-6 or length >= singer.meter.beat
            final = last_bar and index == len(motif.durations) - 1
            if final:
                place = _nearest(ladder, ladder[place], (singer.key.tonic,) if closed else chord.tones)
            elif strong:
                place = _nearest(ladder, ladder[place], chord.tones)
            pitch = ladder[place]
            accent = 14 if start == 0 else 6 if strong else 0
            breath = min(singer.gate, 0.8) if final else singer.gate
            notes.append(Note(bar * singer.meter.bar + start, length * breath, pitch, 78 + accent + rng.randint(-6, 6)))
            place = _reflect(place + step, len(ladder))
            start += length
    return notes


def _close(meter: Meter, density: float, rng: Random) -> Motif:
    """A bar that comes to rest: some movement, then a note of at least half the bar."""
    if meter.bar <= 2 or density < 0.6:
        return Motif((meter.bar,), (0,))
    head = [meter.beat] if rng.random() < 0.5 else [meter.beat / 2, meter.beat / 2]
    return Motif((*head, meter.bar - meter.beat), (*(rng.choice([-1, 1]) for _ in head), 0))


def _nearest(ladder: list[int], pitch: int, tones: tuple[int, ...]) -> int:
    """Place on the ladder of the pitch nearest to `pitch` among the pitch classes `tones`."""
    places = [place for place, own in enumerate(ladder) if own % 12 in tones] or list(range(len(ladder)))
    return min(places, key=lambda place: abs(ladder[place] - pitch))


def _reflect(place: int, size: int) -> int:
    place = abs(place)
    return place if place < size else max(0, 2 * (size - 1) - place)
