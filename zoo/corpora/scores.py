"""The scores corpus (extra `scores`): public-domain music from music21, played by the instruments of this package.

It has Bach's chorales and the fiddle tunes of Ryan's Mammoth Collection (1883). The compositions are in the public
domain, so clips of them are free. Instrument and tempo are random, so a score can give many different clips. A hash of
its name decides the split of a score, for every seed. Scores in other meters or with an uncertain key are skipped.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

from zoo.corpora import accompaniment, music, render
from zoo.corpora.clip import CorpusClip
from zoo.corpora.instruments import DRUMS, INSTRUMENTS
from zoo.corpora.score import METERS, Composition, InstrumentPart, Note
from zoo.corpora.theory import Key
from zoo.errors import MissingDependencyError, install

UNIT_SECONDS = music.UNIT_SECONDS
PACKAGES = (*music.PACKAGES, "music21")

_CHORALE_PLAYERS = (
    "church organ",
    "piano",
    "harpsichord",
    "string ensemble",
    "electric organ",
    "brass ensemble",
    "harp",
)
_CHORALE_LEADS = ("oboe", "flute", "violin", "trumpet", "clarinet", "recorder", "soprano saxophone")
_TUNE_WINDS = ("flute", "recorder", "harmonica", "piccolo", "clarinet", "ocarina", "trumpet", "pan flute")
_TUNE_PLAYERS = (
    *_TUNE_WINDS,
    "violin",
    "accordion",
    "banjo",
    "acoustic guitar",
    "music box",
    "xylophone",
    "piano",
    "koto",
)
_MIN_KEY_CORRELATION = 0.85  # correlation with the profile of a key; below, the key is uncertain
_SHORTEST, _LONGEST = 20.5, 42.0  # s


def require() -> None:
    """Raises MissingDependencyError if music21, the renderer or the soundfont is not installed."""
    render.require()
    if find_spec("music21") is None:
        raise MissingDependencyError(f"the scores corpus needs music21: {install('corpora,scores')}")


def counts(size: str) -> Mapping[str, int]:
    """Units of work in each split; a unit is one performance."""
    return music.counts(size)


def make(size: str, seed: int, split: str, index: int) -> list[CorpusClip]:
    """The clips of performance `index` of a split: a function of seed, split and index."""
    rng = Random(f"scores/{seed}/{split}/{index}")
    while True:
        path = rng.choice(_paths(split))
        piece = perform(path, rng)
        if piece is not None:
            break
    clips = music.clips_of(piece, split, index, rng)
    composer = "Johann Sebastian Bach" if _is_chorale(path) else "traditional"
    for clip in clips:
        clip.labels = {**clip.labels, "composer": composer, "piece": f"{path.parent.name}/{path.name}"}
    return clips


def perform(path: Path, rng: Random) -> Composition | None:
    """Read a score and assign instruments; None if its meter is not one of METERS or its key is uncertain."""
    from music21 import converter

    score = converter.parse(path, forceSource=True, storePickle=False)
    meters = {signature.ratioString for signature in score.recurse().getElementsByClass("TimeSignature")}
    key = score.analyze("key")
    signatures = {signature.sharps for signature in score.recurse().getElementsByClass("KeySignature")}
    if len(meters) != 1 or not meters <= METERS.keys() or key.correlationCoefficient < _MIN_KEY_CORRELATION:
        return None
    if signatures != {key.sharps}:
        return None
    meter = METERS[meters.pop()]
    chorale = _is_chorale(path)
    bpm = rng.choice([*range(56, 77), *range(80, 100)] if chorale else [*range(80, 113), *range(116, 141)])
    bar = meter.bar / meter.beat * 60 / bpm
    score_bars = max(1, round(float(score.duration.quarterLength) / meter.bar))
    times = math.ceil(_SHORTEST / (score_bars * bar))
    bars = min(score_bars * times, int(_LONGEST / bar))
    voices = [_repeated(_notes(part), score_bars * meter.bar, times, bars * meter.bar, rng) for part in _voices(score)]
    if not voices or not all(voices):
        return None
    return Composition(
        style="Bach chorale" if chorale else "American fiddle tune",
        key=Key(key.tonic.pitchClass, key.mode),
        meter=meter,
        bpm=bpm,
        form="as written",
        texture="chorale" if chorale else "single melody line",
        articulation="legato",
        bars=bars,
        parts=_cast_chorale(voices, rng) if chorale else _cast_tune(voices[0], meter.name, bars, rng),
    )


@cache
def _paths(split: str) -> list[Path]:
    from music21 import corpus

    scores = [path for path in corpus.getComposer("bach") if path.suffix == ".mxl"] + corpus.getComposer("ryansMammoth")
    return sorted((Path(path) for path in scores if _split_of(path.name) == split), key=lambda path: path.name)


def _split_of(name: str) -> str:
    return ("dev", "test", *["train"] * 8)[hashlib.sha256(name.encode()).digest()[0] % 10]


def _is_chorale(path: Path) -> bool:
    return path.parent.name == "bach"


def _voices(score: Any) -> list[Any]:
    """The voices of a chorale (its last parts, named after the voices), or the single part of a tune."""
    parts = list(score.parts)
    singers = [part for part in parts if part.partName in ("Soprano", "Alto", "Tenor", "Bass")]
    return singers if len(singers) >= 3 else parts


def _notes(part: Any) -> list[tuple[float, float, int]]:
    """Start, length (quarter notes) and pitch of all notes; tied notes are joined."""
    notes = []
    for item in part.stripTies().flatten().notes:
        if item.quarterLength > 0:
            notes += [(float(item.offset), float(item.quarterLength), pitch.midi) for pitch in item.pitches]
    return notes


def _repeated(notes: list[tuple[float, float, int]], length: float, times: int, end: float, rng: Random) -> list[Note]:
    """The notes, repeated `times` times and cut at `end`; all times in quarter notes."""
    result = []
    for turn in range(times):
        for start, duration, pitch in notes:
            begin = start + turn * length
            if begin < end - 0.01:
                result.append(Note(begin, min(duration, end - begin) * 0.97, pitch, 84 + rng.randint(-7, 7)))
    return result


def _cast_chorale(voices: list[list[Note]], rng: Random) -> list[InstrumentPart]:
    """One instrument for all voices, or a soloist for the soprano."""
    choir = INSTRUMENTS[rng.choice(_CHORALE_PLAYERS)]
    program = rng.choice(choir.programs)
    lower = [note for voice in voices[1:] for note in voice]
    if rng.random() < 0.6:
        return [InstrumentPart("lead", choir, program, voices[0] + lower)]
    leader = INSTRUMENTS[rng.choice(_CHORALE_LEADS)]
    return [
        InstrumentPart("lead", leader, rng.choice(leader.programs), _fitted(voices[0], leader.low, leader.high)),
        InstrumentPart("chords", choir, program, lower),
    ]


def _cast_tune(tune: list[Note], meter: str, bars: int, rng: Random) -> list[InstrumentPart]:
    """One player, sometimes with drums."""
    player = INSTRUMENTS[rng.choice(_TUNE_PLAYERS)]
    parts = [InstrumentPart("lead", player, rng.choice(player.programs), _fitted(tune, player.low, player.high))]
    if rng.random() < 0.25:
        parts.append(InstrumentPart("drums", DRUMS, 0, accompaniment.drums("folk", METERS[meter], bars, rng)))
    return parts


def _fitted(notes: list[Note], low: int, high: int) -> list[Note]:
    """The notes, moved by octaves into the middle of a range."""
    middle = sum(note.pitch for note in notes) / len(notes)
    shift = 12 * round(((low + high) / 2 - middle) / 12)
    return [Note(note.start, note.length, note.pitch + shift, note.velocity) for note in notes]
