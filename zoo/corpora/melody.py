"""Melodies: a motif of one bar, developed over the chords of a phrase.

A motif is a rhythm and a sequence of steps along the scale. It is repeated, shifted (a sequence), inverted, ornamented
or replaced. Notes on strong beats and at the end of phrases are moved to the nearest tone of the chord.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

from zoo.corpora.instruments import Instrument
from zoo.corpora.score import Meter, Note
from zoo.corpora.theory import Chord, Key

_CELLS: dict[float, list[list[float]]] = {  # beat length -> rhythms of one or two beats, in beats
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
    """durations: quarter notes, one bar in total; steps: scale steps from note to note; shift: of the whole motif."""

    durations: tuple[float, ...]
    steps: tuple[int, ...]
    shift: int = 0


@dataclass(frozen=True)
class Player:
    """The player of the melody. density: about this many notes per beat. gate: share of a note's length that sounds."""

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
    while (remaining := beats - sum(durations)) > 1e-6:
        cells = [cell for cell in _CELLS[meter.beat] if sum(cell) <= remaining + 1e-6]
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
    """The motifs of a phrase: a first, b second, s shifted, i inverted, o ornamented, r only the rhythm, c closing."""
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
    """The motif with its longest note replaced by two: the note and its neighbor."""
    longest = max(range(len(motif.durations)), key=lambda index: motif.durations[index])
    length = motif.durations[longest]
    if length < 0.99:
        return motif
    step = rng.choice([-1, 1])
    durations = (*motif.durations[:longest], length / 2, length / 2, *motif.durations[longest + 1 :])
    steps = (*motif.steps[:longest], step, motif.steps[longest] - step, *motif.steps[longest + 1 :])
    return replace(motif, durations=durations, steps=steps)


def play(player: Player, motifs: list[Motif], chords: list[Chord], lift: int, closed: bool, rng: Random) -> list[Note]:
    """Motifs and chords, one per bar -> notes from beat 0. lift: semitones from mid-range to the start."""
    low, high = player.instrument.low, player.instrument.high
    middle = (low + high) // 2
    reach = min(11, (high - low) // 2)  # stay within about an octave and a half
    notes: list[Note] = []
    pitch = middle + lift
    for bar, (motif, chord) in enumerate(zip(motifs, chords, strict=True)):
        scale = player.key.scale(chord)
        if player.pentatonic:
            scale = [(player.key.tonic + step) % 12 for step in _PENTATONIC[player.key.mode]] + list(chord.tones)
        ladder = [p for p in range(middle - reach, middle + reach + 1) if p % 12 in scale]
        anchor = pitch if bar else middle + lift
        index = _nearest(ladder, anchor + 2 * motif.shift, chord.tones)
        start = 0.0
        last_bar = bar == len(motifs) - 1
        for number, (length, step) in enumerate(zip(motif.durations, motif.steps, strict=True)):
            strong = abs(start % player.meter.beat) < 1e-6 or length >= player.meter.beat
            final = last_bar and number == len(motif.durations) - 1
            if final:
                index = _nearest(ladder, ladder[index], (player.key.tonic,) if closed else chord.tones)
            elif strong:
                index = _nearest(ladder, ladder[index], chord.tones)
            pitch = ladder[index]
            accent = 14 if start == 0 else 6 if strong else 0
            gate = min(player.gate, 0.8) if final else player.gate
            notes.append(Note(bar * player.meter.bar + start, length * gate, pitch, 78 + accent + rng.randint(-6, 6)))
            index = _reflect(index + step, len(ladder))
            start += length
    return notes


def _close(meter: Meter, density: float, rng: Random) -> Motif:
    """The last bar of a phrase: one or two notes, then a note of at least half the bar."""
    if meter.bar <= 2 or density < 0.6:
        return Motif((meter.bar,), (0,))
    head = [meter.beat] if rng.random() < 0.5 else [meter.beat / 2, meter.beat / 2]
    return Motif((*head, meter.bar - meter.beat), (*(rng.choice([-1, 1]) for _ in head), 0))


def _nearest(ladder: list[int], pitch: int, tones: tuple[int, ...]) -> int:
    """Index in the ladder of the pitch nearest to `pitch`, among the pitch classes `tones`."""
    indices = [index for index, candidate in enumerate(ladder) if candidate % 12 in tones] or list(range(len(ladder)))
    return min(indices, key=lambda index: abs(ladder[index] - pitch))


def _reflect(index: int, size: int) -> int:
    """An index outside the ladder, reflected at its ends."""
    index = abs(index)
    return index if index < size else max(0, 2 * (size - 1) - index)
