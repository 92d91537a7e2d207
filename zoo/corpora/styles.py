"""The styles of music for the composer, from styles.ini."""

from __future__ import annotations

from configparser import ConfigParser, SectionProxy
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Style:
    """bpm and density: ranges, in beats per minute and notes per beat. harmony: "functional", "loop" or "blues".

    A mode or figure that is listed twice is twice as likely. leads, chords, bass: instruments for each role.
    Shares are probabilities: of drums, a pad, a single player, seventh chords. swing: off-beats are late.
    """

    name: str
    meters: list[str]
    bpm: list[float]
    modes: list[str]
    harmony: str
    leads: list[str]
    chords: list[str]
    chord_figures: list[str]
    bass: list[str]
    bass_figures: list[str]
    drum_figures: list[str]
    drum_share: float
    pad_share: float
    solo_share: float
    density: list[float]
    sevenths: float
    swing: bool
    pentatonic: bool


@cache
def styles() -> list[Style]:
    """All styles."""
    parser = ConfigParser()
    parser.read_string((files("zoo.corpora") / "styles.ini").read_text(encoding="utf-8"))
    return [_style(parser[name]) for name in parser.sections()]


def _style(section: SectionProxy) -> Style:
    def words(field: str) -> list[str]:
        return [word.strip() for word in section[field].replace("\n", " ").split(",") if word.strip()]

    return Style(
        name=section.name,
        meters=words("meters"),
        bpm=[float(number) for number in words("bpm")],
        modes=words("modes"),
        harmony=section["harmony"],
        leads=words("leads"),
        chords=words("chords"),
        chord_figures=words("chord_figures"),
        bass=words("bass"),
        bass_figures=words("bass_figures"),
        drum_figures=words("drum_figures"),
        drum_share=float(section["drum_share"]),
        pad_share=float(section["pad_share"]),
        solo_share=float(section["solo_share"]),
        density=[float(number) for number in words("density")],
        sevenths=float(section["sevenths"]),
        swing=section["swing"] == "yes",
        pentatonic=section["pentatonic"] == "yes",
    )
