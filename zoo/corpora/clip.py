"""One finished clip, as the corpora pass it to the builder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from zoo.data.manifest import Label, Phone
from zoo.errors import install

INSTALL = install("corpora")


@dataclass
class CorpusClip:
    """name: file stem, unique within the split; wave: int16 (S,); the rest as in `zoo.data.manifest.Entry`."""

    name: str
    wave: np.ndarray
    sample_rate: int
    text: str | None = None
    captions: list[str] = field(default_factory=list)
    speaker: str | None = None
    lang: str | None = None
    phones: list[Phone] = field(default_factory=list)
    labels: Mapping[str, Label] = field(default_factory=dict)


def to_int16(wave: np.ndarray) -> np.ndarray:
    """Float samples in [-1, 1] -> int16."""
    return np.clip(np.rint(wave * 32767.0), -32768, 32767).astype(np.int16)
