"""The music corpus: pieces composed by rules, rendered, cut into clips of ten seconds, with captions and labels.

The clips of a piece share its `piece` label and its split. Labels and captions are true for every clip: key, meter and
tempo do not change within a piece, and every part plays in each clip (see `_all_parts_sound`).
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
    """Raises MissingDependencyError if the renderer or the soundfont is not installed."""
    render.require()


def counts(size: str) -> Mapping[str, int]:
    """Units of work in each split; a unit is one piece."""
    return _PIECES[size]


def make(size: str, seed: int, split: str, index: int) -> list[CorpusClip]:
    """The clips of piece `index` of a split: a function of seed, split and index."""
    rng = Random(f"music/{seed}/{split}/{index}")
    return clips_of(compose(rng), split, index, rng)


def clips_of(piece: Composition, split: str, index: int, rng: Random) -> list[CorpusClip]:
    """Render a piece and cut it into clips. Clips in which a part does not sound are left out."""
    wave = render.render(piece, rng)
    clips = []
    for number in range(int(piece.seconds // CLIP_SECONDS)):
        if not _all_parts_sound(piece, number * CLIP_SECONDS, (number + 1) * CLIP_SECONDS):
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


def _all_parts_sound(piece: Composition, start: float, end: float) -> bool:
    """Whether every part sounds in the clip: the lead for at least a fifth of the time, the others at least once."""
    for part in piece.parts:
        spans = [(note.start * piece.quarter, (note.start + note.length) * piece.quarter) for note in part.notes]
        seconds = sum(max(0.0, min(b, end) - max(a, start)) for a, b in spans)
        if seconds < (end - start) / 5 if part.role == "lead" else seconds == 0.0:
            return False
    return True
