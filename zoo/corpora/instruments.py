"""The instruments: General MIDI programs, with the names used in captions and the range in which they sound good."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Instrument:
    """programs: General MIDI numbers, from 0; low, high: MIDI pitches; chordal: can play chords."""

    name: str
    family: str
    programs: tuple[int, ...]
    low: int
    high: int
    chordal: bool = False


_TABLE = """
piano               keyboard            0,1         36 96 chordal
electric piano      keyboard            4,5         40 88 chordal
harpsichord         keyboard            6           41 86 chordal
electric organ      keyboard            16,17,18    40 88 chordal
church organ        keyboard            19          40 84 chordal
accordion           keyboard            21,23       48 84 chordal
celesta             mallet percussion   8           60 96 chordal
music box           mallet percussion   10          60 96 chordal
vibraphone          mallet percussion   11          53 89 chordal
marimba             mallet percussion   12          45 91 chordal
xylophone           mallet percussion   13          65 96
kalimba             mallet percussion   108         55 86 chordal
steel drums         mallet percussion   114         55 84 chordal
acoustic guitar     plucked strings     24,25       40 84 chordal
electric guitar     plucked strings     26,27       40 86 chordal
distorted guitar    plucked strings     29,30       40 84
banjo               plucked strings     105         48 84 chordal
sitar               plucked strings     104         48 77
koto                plucked strings     107         50 84 chordal
harp                plucked strings     46          36 96 chordal
pizzicato strings   plucked strings     45          43 84 chordal
double bass         bowed strings       32          28 55
electric bass       plucked strings     33,34,35    28 55
violin              bowed strings       40          55 96
cello               bowed strings       42          36 74
string ensemble     bowed strings       48,49       40 88 chordal
choir               voice               52,53       48 79 chordal
trumpet             brass               56          55 82
muted trumpet       brass               59          55 82
trombone            brass               57          40 70
French horn         brass               60          45 74
tuba                brass               58          28 55
brass ensemble      brass               61          43 79 chordal
soprano saxophone   woodwind            64          57 86
alto saxophone      woodwind            65          52 80
tenor saxophone     woodwind            66          47 75
baritone saxophone  woodwind            67          40 67
oboe                woodwind            68          58 88
English horn        woodwind            69          52 79
bassoon             woodwind            70          36 67
clarinet            woodwind            71          52 88
piccolo             woodwind            72          74 96
flute               woodwind            73          60 93
recorder            woodwind            74          62 88
pan flute           woodwind            75          60 88
ocarina             woodwind            79          62 84
harmonica           woodwind            22          58 84
bagpipe             woodwind            109         57 79
synthesizer lead    synthesizer         80,81       50 86
synthesizer pad     synthesizer         89,90,94,95 43 79 chordal
synthesizer bass    synthesizer         38,39       28 52
"""


def _parse(line: str) -> Instrument:
    programs, low, high, *chordal = line[40:].split()
    return Instrument(
        line[:20].strip(),
        line[20:40].strip(),
        tuple(int(program) for program in programs.split(",")),
        int(low),
        int(high),
        bool(chordal),
    )


INSTRUMENTS = {instrument.name: instrument for instrument in map(_parse, _TABLE.strip().splitlines())}
DRUMS = Instrument("drums", "percussion", (0,), 35, 81)
