"""The music corpus: pieces composed by rule, rendered, cut into clips of ten seconds, with captions and labels.

The clips of a piece share its `piece` label and its split. All facts that labels and captions state hold in every clip:
key, meter and tempo do not change within a piece, and every part plays throughout (`_sounding` makes sure).
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from zoo.corpora import captions, render
from zoo.corpora.clip import CorpusClip, to_int16
from zoo.corpora.compose import compose
from zoo.corpora.score import Composition

CLIP_SECONDS = 10
UNIT_SECONDS = 25.0
PACKAGES = ("midirenderer", "pretty_midi", "numpy", "scipy")

_PIECES = {
    "tiny": {"train": 5, "dev": 2, "test": 2},
    "small": {"train": 116, "dev": 15, "test": 15},
    "large": {"train": 1280, "dev": 100, "test": 100},
}


def require() -> None:
    """Raise MissingDependencyError when renderer or soundfont are not installed."""
    render.require()


def counts(size: str) -> Mapping[str, int]:
    """Units of work in each split: here one unit is one piece."""
    return _PIECES[size]


def make(size: str, seed: int, split: str, index: int) -> list[CorpusClip]:
    """The clips of piece `index` of a split: a function of seed, split and index."""
    rng = Random(f"music/{seed}/{split}/{index}")
    return clips_of(compose(rng), split, index, rng)


def clips_of(piece: Composition, split: str, index: int, rng: Random) -> list[CorpusClip]:
    """Render a piece and cut it; stretches in which a part is not heard are left out."""
    wave = render.render(piece, rng)
    clips = []
    for number in range(int(piece.seconds // CLIP_SECONDS)):
        if not _sounding(piece, number * CLIP_SECONDS, (number + 1) * CLIP_SECONDS):
            continue
        samples = CLIP_SECONDS * render.SAMPLE_RATE
        clips.append(
            CorpusClip(
                name=f"{index:05d}-{number}",
                wave=to_int16(wave[number * samples : (number + 1) * samples]),
                sample_rate=render.SAMPLE_RATE,
                captions=captions.captions(piece, split, rng),
                labels=captions.labels(piece) | {"piece": f"{split}-{index:05d}"},
            )
        )
    return clips


def _sounding(piece: Composition, start: float, end: float) -> bool:
    """Whether every part sounds in the clip: the lead for a fifth of the time, the others at all."""
    for part in piece.parts:
        spans = [(note.start * piece.quarter, (note.start + note.length) * piece.quarter) for note in part.notes]
        heard = sum(max(0.0, min(b, end) - max(a, start)) for a, b in spans)
        if heard < (end - start) / 5 if part.role == "lead" else heard == 0.0:
            return False
    return True
