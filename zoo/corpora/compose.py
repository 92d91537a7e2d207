"""Compose a piece: choose style, key and form, then make chords, melody and accompaniment for every section."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from zoo.corpora import accompaniment, melody, theory
from zoo.corpora.instruments import DRUMS, INSTRUMENTS, Instrument
from zoo.corpora.melody import Motif, Player
from zoo.corpora.score import METERS, Composition, InstrumentPart, Meter, Note
from zoo.corpora.styles import Style, styles
from zoo.corpora.theory import Chord, Key

_SHORTEST, _LONGEST = 20.5, 42.0  # s
_FORMS = {
    2: ["AA", "AB"],
    3: ["ABA", "AAB", "ABB"],
    4: ["AABA", "ABAB", "ABAC", "AABB"],
    5: ["AABAB", "ABABA", "AABBA"],
    6: ["AABBAA", "ABABAC", "AABAAB"],
    7: ["AABBAAB", "ABACABA"],
    8: ["AABBAABB", "AABACABA"],
}
_LIFTS = {"A": 0, "B": 4, "C": -3}  # semitones by which a section starts higher than the first
_DAMPED = ("keyboard", "bowed strings", "woodwind", "brass")  # families with a sound that ends with the note
_PADS = ("synthesizer pad", "string ensemble", "choir")
_TEMPO_GAPS = (77, 78, 79, 113, 114, 115)  # not used, to keep slow, medium and fast clearly apart


def compose(rng: Random) -> Composition:
    """A piece of 20 to 42 s."""
    style = rng.choice(styles())
    meter = METERS[rng.choice(style.meters)]
    slowest, fastest = map(int, style.bpm)
    bpm = rng.choice([bpm for bpm in range(slowest, fastest + 1) if bpm not in _TEMPO_GAPS])
    key = Key(rng.randrange(12), rng.choice(style.modes))
    form, bars = _form(style, meter, bpm, rng)
    sections = _harmonize(style, key, form, bars, rng)
    lead = INSTRUMENTS[rng.choice(style.leads)]
    piece = Composition(
        style=style.name,
        key=key,
        meter=meter,
        bpm=bpm,
        form=form,
        texture="",
        articulation="staccato" if lead.family in _DAMPED and rng.random() < 0.2 else "legato",
        bars=bars * len(form),
        parts=[],
        chords=[chord for section in sections for chord in section],
    )
    tune = _melody(style, piece, sections, lead, rng)
    piece.parts.append(InstrumentPart("lead", lead, rng.choice(lead.programs), tune))
    if style.name == "chorale":
        piece.texture = "chorale"
        piece.lead.notes += accompaniment.chorale(tune, meter, piece.chords, lead)
    elif rng.random() < style.solo_share:
        _accompany_alone(style, piece, rng)
    else:
        _accompany(style, piece, rng)
    if style.swing:
        for part in piece.parts:
            part.notes = [_swung(note) for note in part.notes]
    return piece


def tempo_word(bpm: int) -> str:
    """ "slow" below 78 beats per minute, "fast" above 114, else "medium"."""
    return "slow" if bpm < 78 else "fast" if bpm > 114 else "medium"


def _form(style: Style, meter: Meter, bpm: int, rng: Random) -> tuple[str, int]:
    """Letters of the sections, and bars in each."""
    bar = meter.bar / meter.beat * 60 / bpm
    if style.harmony == "blues":
        return "A" * math.ceil(_SHORTEST / (12 * bar)), 12
    bars = 4 if 4 * bar >= 5.2 else 8
    low = max(2, math.ceil(_SHORTEST / (bars * bar)))
    high = max(low, min(8, int(_LONGEST / (bars * bar))))
    return rng.choice(_FORMS[rng.randint(low, min(high, low + 1))]), bars


def _harmonize(style: Style, key: Key, form: str, bars: int, rng: Random) -> list[list[Chord]]:
    """The chords of every section, one per bar. A section ends closed unless the next one has the same letter."""
    closes = [index == len(form) - 1 or form[index + 1] != letter for index, letter in enumerate(form)]
    sevenths = rng.random() < style.sevenths
    closed: dict[str, list[str]] = {}
    opened: dict[str, list[str]] = {}
    for letter in sorted(set(form)):
        if style.harmony == "functional":
            closed[letter] = theory.phrase(key, bars, closed=True, rng=rng)
            opened[letter] = theory.with_open_ending(key, closed[letter], rng)
        elif style.harmony == "blues":
            closed[letter], opened[letter] = theory.blues(last=True), theory.blues(last=False)
        else:
            opened[letter] = theory.loop(key, bars, rng)
            closed[letter] = opened[letter][:-1] + opened["A"][:1]
    symbols = [(closed if close else opened)[letter] for letter, close in zip(form, closes, strict=True)]
    return [[key.chord(symbol, sevenths) for symbol in section] for section in symbols]


def _melody(style: Style, piece: Composition, sections: list[list[Chord]], lead: Instrument, rng: Random) -> list[Note]:
    """The melody: each letter of the form has its own motifs; repeated sections may be ornamented."""
    pace = 1.0 if piece.bpm < 120 else 0.75
    density = rng.uniform(*style.density) * pace
    gate = 0.45 if piece.articulation == "staccato" else 0.97
    player = Player(lead, piece.key, piece.meter, density, style.pentatonic, gate)
    motifs: dict[str, list[Motif]] = {}
    notes: list[Note] = []
    bar = 0
    for index, (letter, chords) in enumerate(zip(piece.form, sections, strict=True)):
        repeated = letter in motifs
        if not repeated:
            motifs[letter] = melody.plan(len(chords), piece.meter, density, rng)
        section = motifs[letter]
        if repeated and rng.random() < 0.5:
            section = [melody.ornament(motif, rng) if rng.random() < 0.4 else motif for motif in section]
        closes = index == len(sections) - 1 or piece.form[index + 1] != letter
        shift = bar * piece.meter.bar
        closed = closes and chords[-1].root == piece.key.tonic
        played = melody.play(player, section, chords, _LIFTS[letter], closed, rng)
        notes += [replace(note, start=note.start + shift) for note in played]
        bar += len(chords)
    return notes


def _accompany_alone(style: Style, piece: Composition, rng: Random) -> None:
    """One player. An instrument that can play chords usually does; others play only the melody."""
    lead = piece.lead
    piece.texture = "single melody line"
    if lead.instrument.chordal and rng.random() < 0.75:
        piece.texture = "melody with accompaniment"
        figure = rng.choice(style.chord_figures)
        notes = accompaniment.chords(figure, piece.meter, piece.chords, lead.instrument, rng)
        if lead.instrument.low <= 41:
            bass = rng.choice(style.bass_figures)
            notes += accompaniment.bass(bass, piece.meter, piece.chords, piece.key, lead.instrument, rng)
        piece.parts.append(InstrumentPart("chords", lead.instrument, lead.program, notes))


def _accompany(style: Style, piece: Composition, rng: Random) -> None:
    """A group: chords, usually a bass, drums if the style has them, sometimes a pad."""
    piece.texture = "melody with accompaniment"
    meter, harmony = piece.meter, piece.chords

    def pick(names: Sequence[str]) -> Instrument:
        used = {part.instrument.name for part in piece.parts}
        return INSTRUMENTS[rng.choice([name for name in names if name not in used])]

    chordal = pick(style.chords)
    notes = accompaniment.chords(rng.choice(style.chord_figures), meter, harmony, chordal, rng)
    piece.parts.append(InstrumentPart("chords", chordal, rng.choice(chordal.programs), notes))
    with_drums = rng.random() < style.drum_share
    if with_drums or rng.random() < 0.7:
        low = pick(style.bass)
        notes = accompaniment.bass(rng.choice(style.bass_figures), meter, harmony, piece.key, low, rng)
        piece.parts.append(InstrumentPart("bass", low, rng.choice(low.programs), notes))
    if rng.random() < style.pad_share:
        pad = pick(_PADS)
        notes = accompaniment.chords("sustained", meter, harmony, pad, rng)
        piece.parts.append(InstrumentPart("pad", pad, rng.choice(pad.programs), notes))
    if with_drums:
        notes = accompaniment.drums(rng.choice(style.drum_figures), meter, len(harmony), rng)
        piece.parts.append(InstrumentPart("drums", DRUMS, 0, notes))


def _swung(note: Note) -> Note:
    """Off-beat eighths move to the last third of the beat."""

    def late(time: float) -> float:
        beat, phase = divmod(time, 1.0)
        return beat + (phase * 4 / 3 if phase < 0.5 else 2 / 3 + (phase - 0.5) * 2 / 3)

    return replace(note, start=late(note.start), length=late(note.start + note.length) - late(note.start))
