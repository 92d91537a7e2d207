"""A composed piece: notes in quarter notes, and its attributes."""

from __future__ import annotations

from dataclasses import dataclass, field

from zoo.corpora.instruments import Instrument
from zoo.corpora.theory import Chord, Key


@dataclass(frozen=True)
class Meter:
    """bar and beat: lengths in quarter notes. Tempo counts beats; in 6/8 a beat is a dotted quarter."""

    name: str
    bar: float
    beat: float


METERS = {
    "4/4": Meter("4/4", 4.0, 1.0),
    "3/4": Meter("3/4", 3.0, 1.0),
    "2/4": Meter("2/4", 2.0, 1.0),
    "6/8": Meter("6/8", 3.0, 1.5),
}


@dataclass(frozen=True)
class Note:
    """start, length: quarter notes; pitch: MIDI number; velocity: 1 to 127."""

    start: float
    length: float
    pitch: int
    velocity: int


@dataclass
class InstrumentPart:
    """role: "lead", "chords", "bass", "pad" or "drums"."""

    role: str
    instrument: Instrument
    program: int
    notes: list[Note] = field(default_factory=list)


@dataclass
class Composition:
    """parts: the lead first. chords: one per bar, if known. articulation: of the lead, "staccato" or "legato"."""

    style: str
    key: Key
    meter: Meter
    bpm: int
    form: str
    texture: str
    articulation: str
    bars: int
    parts: list[InstrumentPart]
    chords: list[Chord] = field(default_factory=list)

    @property
    def quarter(self) -> float:
        """Length of a quarter note in seconds."""
        return 60.0 / (self.bpm * self.meter.beat)

    @property
    def seconds(self) -> float:
        return self.bars * self.meter.bar * self.quarter

    @property
    def lead(self) -> InstrumentPart:
        return self.parts[0]
