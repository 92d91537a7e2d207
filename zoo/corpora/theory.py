"""Keys, chords and progressions: the music theory for the composer.

Pitches are MIDI numbers, pitch classes are semitones above C, and chord symbols are relative to the tonic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

_NAMES = ("C", "", "D", "E flat", "E", "F", "F sharp", "G", "", "A", "B flat", "B")
_BRIGHT, _DARK = {1: "D flat", 8: "A flat"}, {1: "C sharp", 8: "G sharp"}  # for modes with a major or a minor third
MODES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}

_MAJOR, _MINOR, _DIMINISHED = (0, 4, 7), (0, 3, 7), (0, 3, 6)
_DOMINANT, _MAJOR7, _MINOR7, _HALF_DIMINISHED = (0, 4, 7, 10), (0, 4, 7, 11), (0, 3, 7, 10), (0, 3, 6, 10)

# Chord symbol -> semitones of the root above the tonic, intervals of the triad, intervals of the seventh chord.
_CHORDS = {
    "I": (0, _MAJOR, _MAJOR7),
    "i": (0, _MINOR, _MINOR7),
    "ii": (2, _MINOR, _MINOR7),
    "iio": (2, _DIMINISHED, _HALF_DIMINISHED),
    "bIII": (3, _MAJOR, _MAJOR7),
    "iii": (4, _MINOR, _MINOR7),
    "IV": (5, _MAJOR, _MAJOR7),
    "iv": (5, _MINOR, _MINOR7),
    "V": (7, _MAJOR, _DOMINANT),
    "v": (7, _MINOR, _MINOR7),
    "bVI": (8, _MAJOR, _MAJOR7),
    "vi": (9, _MINOR, _MINOR7),
    "bVII": (10, _MAJOR, _DOMINANT),
    "I7": (0, _DOMINANT, _DOMINANT),
    "IV7": (5, _DOMINANT, _DOMINANT),
    "V7": (7, _DOMINANT, _DOMINANT),
    "V/V": (2, _DOMINANT, _DOMINANT),
    "V/vi": (4, _DOMINANT, _DOMINANT),
    "V/ii": (9, _DOMINANT, _DOMINANT),
}

# Chord -> possible next chords; likelier ones are repeated. Tonic -> preparation -> dominant -> tonic, with detours.
_FOLLOWERS = {
    "major": {
        "I": "IV IV V vi vi ii iii V/vi V/ii",
        "ii": "V V V7 V V/V",
        "iii": "vi vi IV",
        "IV": "V V I ii V7 iv",
        "iv": "I V",
        "V": "I I I vi",
        "V7": "I I vi",
        "vi": "ii IV IV V V/V iii",
        "V/V": "V V7",
        "V/vi": "vi",
        "V/ii": "ii",
    },
    "minor": {
        "i": "iv iv V bVI bVI bVII bIII iio",
        "iio": "V V7",
        "bIII": "bVI iv bVII",
        "iv": "V V i bVII V7",
        "V": "i i i bVI",
        "V7": "i i bVI",
        "bVI": "iv iio bVII V bIII",
        "bVII": "bIII i bVI",
    },
    "dorian": {"i": "IV IV bVII v bIII", "IV": "i i bVII", "bVII": "i i IV bIII", "v": "i bVII", "bIII": "IV bVII"},
    "mixolydian": {"I": "bVII bVII IV v", "bVII": "IV IV I I", "IV": "I I bVII", "v": "IV bVII"},
}
_CADENCES = {  # mode -> (open endings, closed endings), each the last two chords
    "major": (["ii V", "IV V", "V/V V", "vi V"], ["V I", "V7 I", "IV I", "V7 I"]),
    "minor": (["iv V", "bVI V", "iio V"], ["V i", "V7 i", "iv i"]),
    "dorian": (["i IV", "i bVII"], ["IV i", "bVII i"]),
    "mixolydian": (["I bVII", "I IV"], ["bVII I", "IV I"]),
}
_LOOPS = {
    "major": ["I V vi IV", "vi IV I V", "I vi IV V", "I IV vi V", "I iii IV V", "ii V I vi", "I V ii IV"],
    "minor": ["i bVI bIII bVII", "i iv bVII bIII", "i bVII bVI V", "i bVI iv V", "i bIII bVII iv"],
    "dorian": ["i IV i IV", "i bVII IV i", "i bIII IV i"],
    "mixolydian": ["I bVII IV I", "I bVII I IV", "I IV bVII IV"],
}
_BLUES = "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7"
_BLUES_END = "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 I7"


@dataclass(frozen=True)
class Key:
    """tonic: pitch class 0 to 11; mode: a key of MODES."""

    tonic: int
    mode: str

    @property
    def name(self) -> str:
        rest = _DARK if 3 in MODES[self.mode] else _BRIGHT
        return f"{_NAMES[self.tonic] or rest[self.tonic]} {self.mode}"

    def chord(self, symbol: str, seventh: bool = False) -> Chord:
        """The chord of a symbol in this key."""
        root, triad, tetrad = _CHORDS[symbol]
        intervals = tetrad if seventh else triad
        return Chord(symbol, (self.tonic + root) % 12, tuple((self.tonic + root + step) % 12 for step in intervals))

    def scale(self, chord: Chord) -> list[int]:
        """The seven pitch classes of the key, with those that the chord alters replaced by the tones of the chord."""
        scale = [(self.tonic + step) % 12 for step in MODES[self.mode]]
        for tone in chord.tones:
            if tone not in scale:
                neighbors = [index for index, pitch in enumerate(scale) if (pitch - tone) % 12 in (1, 11)]
                free = [index for index in neighbors if scale[index] not in chord.tones]
                if free:
                    scale[free[0]] = tone
        return scale


@dataclass(frozen=True)
class Chord:
    """symbol, relative to the key; root and tones: pitch classes."""

    symbol: str
    root: int
    tones: tuple[int, ...]

    def voicing(self, near: Sequence[int], low: int, high: int) -> list[int]:
        """The tones in close position between two pitches, in the inversion nearest to the pitches `near`."""
        candidates = []
        for bottom in range(low, high - 7):
            if bottom % 12 in self.tones:
                order = sorted((tone - bottom) % 12 for tone in self.tones)
                candidates.append([bottom + step for step in order])
        center = sum(near) / len(near) if near else (low + high) / 2
        return min(candidates, key=lambda pitches: abs(sum(pitches) / len(pitches) - center))


def phrase(key: Key, bars: int, *, closed: bool, rng: Random) -> list[str]:
    """A functional phrase, one chord per bar, from the tonic to an open or closed cadence."""
    followers = {symbol: line.split() for symbol, line in _FOLLOWERS[key.mode].items()}
    ending = rng.choice(_CADENCES[key.mode][closed]).split()
    tonic = next(iter(followers))
    while True:
        chords = [tonic]
        while len(chords) < bars - len(ending):
            chords.append(rng.choice(followers[chords[-1]]))
        if bars <= len(ending) or ending[0] in followers[chords[-1]]:
            return (chords + ending)[-bars:]


def with_open_ending(key: Key, chords: list[str], rng: Random) -> list[str]:
    """The same phrase with an open ending, to be followed by the closed one."""
    before = chords[-3] if len(chords) > 2 else chords[0]
    endings = [ending.split() for ending in _CADENCES[key.mode][False]]
    fitting = [ending for ending in endings if ending[0] in _FOLLOWERS[key.mode][before].split()]
    return chords[:-2] + rng.choice(fitting or endings)


def loop(key: Key, bars: int, rng: Random) -> list[str]:
    """A loop of four chords, repeated."""
    chords = rng.choice(_LOOPS[key.mode]).split()
    return [chords[bar % 4] for bar in range(bars)]


def blues(last: bool) -> list[str]:
    """Twelve bars; every chorus except the last ends with the turnaround."""
    return (_BLUES_END if last else _BLUES).split()
