"""The clips of the demo: tiny corpora of seeds that no packaged model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zoo import corpora
from zoo.data import manifest
from zoo.data.manifest import Entry

SEEDS = {"speech": (1, 2, 3, 4), "music": (1, 2, 3, 4, 5)}
"""Seed 0 is what the models in the package were trained on; its first clips are in every size of a corpus."""
FOLDS = 5


@dataclass(frozen=True)
class DemoClip:
    """One clip of the demo. key: its name on the page, of letters, digits and hyphens."""

    key: str
    entry: Entry

    @property
    def group(self) -> str:
        """What the clip is not independent within: its voice, or its piece of music."""
        return self.entry.speaker or self.label("piece")

    def label(self, column: str) -> str:
        """The value of a label column; empty where the clip has none."""
        value = self.entry.labels.get(column)
        return "" if value is None else str(value)


def build(corpus: str, seeds: Sequence[int] | None = None) -> list[DemoClip]:
    """The clips of a tiny corpus of each seed. corpus: "speech" or "music"."""
    clips = []
    for seed in seeds or SEEDS[corpus]:
        path = corpora.build(corpus, "tiny", seed=seed, workers=1, progress=False)  # workers take longer to start
        for number, entry in enumerate(manifest.read(path)):
            clips.append(DemoClip(f"{corpus}-{seed}-{number}", _of_seed(entry, seed)))
    return clips


def spoken_words(clips: Sequence[DemoClip]) -> list[DemoClip]:
    """The clips of one word each."""
    return [clip for clip in clips if clip.label("style") == "keyword"]


def english_sentences(clips: Sequence[DemoClip]) -> list[DemoClip]:
    """The English clips of more than one word."""
    return [clip for clip in clips if clip.entry.lang == "en" and clip.label("style") != "keyword"]


def new_voices(clips: Sequence[DemoClip]) -> list[DemoClip]:
    """The English clips by voices that no training has met."""
    return [clip for clip in clips if clip.entry.lang == "en" and clip.entry.split == "test"]


def write_folds(clips: Sequence[DemoClip], path: Path) -> Path:
    """Write a manifest with a column `fold`, which keeps each voice, or piece of music, in one fold."""
    groups = sorted({clip.group for clip in clips})
    entries = []
    for clip in clips:
        fold = str(groups.index(clip.group) % FOLDS + 1)
        entries.append(replace(clip.entry, labels=clip.entry.labels | {"fold": fold}))
    manifest.write(path, entries)
    return path


def _of_seed(entry: Entry, seed: int) -> Entry:
    """The entry with a name of its piece that no other seed has."""
    if "piece" not in entry.labels:
        return entry
    return replace(entry, labels=entry.labels | {"piece": f"{seed}-{entry.labels['piece']}"})
