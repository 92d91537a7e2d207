"""Render compositions with General MIDI and the TimGM6mb soundfont, part by part, then mix the parts.

The instruments of the soundfont differ by 20 dB in level. So parts are rendered separately and mixed by measured level:
the lead is the loudest, and every instrument in a caption is audible.
"""

from __future__ import annotations

import io
import wave as wave_file
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from random import Random

import numpy as np
from scipy.signal import firwin, upfirdn

from zoo.corpora.clip import INSTALL
from zoo.corpora.score import Composition, InstrumentPart
from zoo.errors import MissingDependencyError

SAMPLE_RATE = 24000

_SYNTH_RATE = 48000  # fixed by midirenderer
_TAIL = 2.0  # s, for the last notes to ring
_LEVELS = {
    "lead": (0, 0),
    "chords": (-9, -4),
    "bass": (-8, -4),
    "pad": (-13, -9),
    "drums": (-9, -4),
}  # dB below the lead
_VOLUME, _REVERB, _CHORUS = 7, 91, 93  # MIDI controllers


def require() -> None:
    """Raises MissingDependencyError if the renderer or the soundfont is not installed."""
    missing = [name for name in ("midirenderer", "pretty_midi") if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(f"the music corpus needs {' and '.join(missing)}: {INSTALL}")


def render(piece: Composition, rng: Random) -> np.ndarray:
    """A piece -> float samples (S,) at SAMPLE_RATE, with the reverberation after the last bar; peak below 1."""
    reverb, chorus = rng.randint(10, 90), rng.choice([0, 0, 20, 40])
    samples = int((piece.seconds + _TAIL) * SAMPLE_RATE)
    mix = np.zeros(samples)
    for part in piece.parts:
        stem = render_part(piece, part, reverb, chorus)[:samples]
        level = 10 ** (rng.uniform(*_LEVELS[part.role]) / 20)
        mix[: len(stem)] += stem * (level / loudness(stem))
    mix *= 10 ** (rng.uniform(-24, -16) / 20) / loudness(mix)
    return mix * min(1.0, 0.95 / np.abs(mix).max())


def render_part(piece: Composition, part: InstrumentPart, reverb: int, chorus: int) -> np.ndarray:
    """One part -> float samples (S,) at SAMPLE_RATE."""
    import midirenderer

    with wave_file.open(
        io.BytesIO(midirenderer.render_wave_from(_soundfont(), _midi(piece, part, reverb, chorus)))
    ) as file:
        stereo = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)  # (S, 2)
    return upfirdn(_half_band(), stereo.mean(axis=1) / 32768.0, down=_SYNTH_RATE // SAMPLE_RATE)


def loudness(wave: np.ndarray) -> float:
    """Root mean square of the sounding frames of a wave (S,): frames of 50 ms within 30 dB of the loudest."""
    frames = wave[: len(wave) // 1200 * 1200].reshape(-1, 1200)  # (T, 1200)
    power = np.mean(frames**2, axis=1)
    return float(np.sqrt(power[power > 1e-3 * power.max()].mean())) + 1e-9


def _midi(piece: Composition, part: InstrumentPart, reverb: int, chorus: int) -> bytes:
    import pretty_midi

    midi = pretty_midi.PrettyMIDI(resolution=960, initial_tempo=60.0 / piece.quarter)
    track = pretty_midi.Instrument(part.program, is_drum=part.role == "drums")
    for note in part.notes:
        start = note.start * piece.quarter
        end = start + max(0.03, note.length * piece.quarter)
        track.notes.append(pretty_midi.Note(note.velocity, note.pitch, start, end))
    for controller, value in ((_VOLUME, 127), (_REVERB, reverb), (_CHORUS, chorus)):
        track.control_changes.append(pretty_midi.ControlChange(controller, value, 0.0))
    track.control_changes.append(pretty_midi.ControlChange(_VOLUME, 127, piece.seconds + _TAIL))  # holds the end open
    midi.instruments.append(track)
    file = io.BytesIO()
    midi.write(file)
    return file.getvalue()


@cache
def _soundfont() -> bytes:
    spec = find_spec("pretty_midi")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "TimGM6mb.sf2").read_bytes()


@cache
def _half_band() -> np.ndarray:
    return firwin(63, 0.48, window=("kaiser", 7.0))
