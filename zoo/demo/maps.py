"""Maps of clips: vectors of a model on a plane, and how often the nearest clip has the same label.

Legend: N clips, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.manifold import TSNE
from torch import Tensor

from zoo.demo.clips import DemoClip
from zoo.encoder import Encoder

_PERPLEXITY = 20.0


@dataclass(frozen=True)
class Map:
    """One corpus as one model places it.

    question: what a label is, for readers; points: (N, 2) in 0 ... 1.
    agreement: share of clips whose nearest clip of another group has the same label; chance: the same, were the
    nearest clip drawn at random.
    """

    model: str
    question: str
    clips: list[DemoClip]
    labels: list[str]
    points: np.ndarray
    agreement: float
    chance: float


def draw(
    model: str, encoder: Encoder, clips: Sequence[DemoClip], column: str, question: str, pooling: str = "stats"
) -> Map:
    """The map of the clips' embeddings by a label column."""
    vectors = encoder.embed([clip.entry.audio for clip in clips], pooling=pooling)
    unit = normalize(vectors)
    labels = [clip.label(column) for clip in clips]
    groups = [clip.group for clip in clips]
    return Map(
        model=model,
        question=question,
        clips=list(clips),
        labels=labels,
        points=project(unit),
        agreement=agreement(unit, labels, groups),
        chance=chance(labels, groups),
    )


def normalize(vectors: Tensor) -> np.ndarray:
    """(N, D) with each dimension standardized over the clips, then each vector of length 1."""
    scaled = (vectors - vectors.mean(0)) / vectors.std(0).clamp(min=1e-6)
    return (scaled / scaled.norm(dim=1, keepdim=True).clamp(min=1e-6)).numpy()


def project(vectors: np.ndarray) -> np.ndarray:
    """(N, D) to (N, 2) in 0 ... 1 by t-SNE."""
    perplexity = min(_PERPLEXITY, (len(vectors) - 1) / 3)
    points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(vectors)
    low = points.min(axis=0)
    high = points.max(axis=0)
    return (points - low) / np.maximum(high - low, 1e-9)


def agreement(vectors: np.ndarray, labels: Sequence[str], groups: Sequence[str]) -> float:
    """The share of clips whose nearest clip, by cosine and of another group, has the same label."""
    similarity = vectors @ vectors.T
    similarity[_equal(groups)] = -np.inf
    nearest = similarity.argmax(axis=1)
    return float(_equal(labels)[np.arange(len(labels)), nearest].mean())


def chance(labels: Sequence[str], groups: Sequence[str]) -> float:
    """The share of clips of other groups that have the same label, in the mean over clips."""
    allowed = ~_equal(groups)
    same = _equal(labels) & allowed
    return float((same.sum(axis=1) / np.maximum(allowed.sum(axis=1), 1)).mean())


def _equal(values: Sequence[str]) -> np.ndarray:
    """(N, N): whether two clips have the same value."""
    column = np.array(values)
    return column[:, None] == column
