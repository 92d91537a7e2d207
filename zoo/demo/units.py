"""Spectrograms with the hidden units of HuBERT.

Legend: T frames, N mel bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from zoo.demo.clips import DemoClip
from zoo.encoder import Encoder

PAIRS = 2
"""Words that are shown, by two voices each."""
LONGEST_WORD = 1.2
"""Seconds; longer clips are shown over the full width."""
_LONGEST_SENTENCE = 3.5  # s


@dataclass(frozen=True)
class Run:
    """A stretch of equal units. start, end: s."""

    unit: int
    start: float
    end: float


@dataclass(frozen=True)
class Spectrogram:
    """One clip as a picture. bands: (T, N) log-mel; runs: its hidden units."""

    clip: DemoClip
    bands: np.ndarray
    runs: list[Run]


def spectrograms(clips: Sequence[DemoClip], hubert: Any, logmel: Encoder) -> list[Spectrogram]:
    """Log-mel bands and hidden units of each clip."""
    found = []
    for clip in clips:
        bands = logmel.encode(clip.entry.audio).x[0].numpy()
        units = hubert.units(clip.entry.audio).tolist()
        found.append(Spectrogram(clip, bands, runs(units, hubert.frame_rate, clip.entry.duration)))
    return found


def runs(units: Sequence[int], frame_rate: float, duration: float) -> list[Run]:
    """Equal neighbors as one run each; the last one lasts to the end of the clip."""
    found = []
    position = 0
    for unit, members in groupby(units):
        end = position + len(list(members))
        seconds = duration if end == len(units) else end / frame_rate
        found.append(Run(unit, position / frame_rate, seconds))
        position = end
    return found


def choose(clips: Sequence[DemoClip]) -> list[DemoClip]:
    """A few words by two voices each, and a sentence."""
    chosen: list[DemoClip] = []
    for word in sorted({clip.label("label") for clip in clips} - {""}):
        pair = _one_by_voice([clip for clip in clips if clip.label("label") == word])
        if len(pair) >= 2 and len(chosen) < 2 * PAIRS:
            chosen += pair[:2]
    sentences = [clip for clip in clips if clip.label("style") == "sentence"]
    short = [clip for clip in sentences if clip.entry.duration <= _LONGEST_SENTENCE]
    return chosen + short[:1]


def _one_by_voice(clips: Sequence[DemoClip]) -> list[DemoClip]:
    """The first clip of each voice."""
    first: dict[str, DemoClip] = {}
    for clip in clips:
        first.setdefault(clip.group, clip)
    return list(first.values())
