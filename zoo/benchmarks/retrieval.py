"""Evaluate a joint embedding of audio and text: find clips by caption, and classify without training (zero-shot).

Legend: N clips, M queries, C classes, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from zoo.benchmarks.metrics import average_precision
from zoo.data.manifest import Entry
from zoo.errors import ConfigError
from zoo.text.prompts import embed_prompts

EmbedText = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True)
class Retrieval:
    """The rank of the best right answer for each query. Arrays are (M,), unless noted.

    before: number of wrong answers that score higher than the best right one. wrong, right: number of wrong and right
    answers with exactly its score, itself included. Ties count as their expected value over random orders.
    scores (M, N): cosines of queries and answers. relevant (M, N): whether the answer is right.
    """

    before: np.ndarray
    wrong: np.ndarray
    right: np.ndarray
    scores: np.ndarray
    relevant: np.ndarray

    @property
    def ranks(self) -> np.ndarray:
        """(M,): rank of the first right clip among all clips, 1 = first. For a tie, the mean rank."""
        return 1 + self.before + self.wrong / (self.right + 1)

    def found_in(self, k: int) -> np.ndarray:
        """(M,): 1 if a right clip is among the first k, else 0. For a tie, the share of its orders."""
        missed = np.ones(len(self.before))
        for drawn in range(k):  # clips of the tie that are among the first k so far, none of them right
            left = np.maximum(self.wrong - drawn, 0) / np.maximum(self.wrong + self.right - drawn, 1)
            missed *= np.where(self.before + drawn < k, left, 1.0)
        return 1 - missed

    def average_precision(self) -> np.ndarray:
        """(M,): average precision over all right answers of each query. Their mean is the mAP.

        Scores are compared as float32, so that equal captions are ties, in whatever order their products were summed.
        """
        pairs = zip(self.scores.astype(np.float32), self.relevant, strict=True)
        return np.array([average_precision(scores, relevant) for scores, relevant in pairs])

    def per_query(self) -> dict[str, np.ndarray]:
        """Scores of each query (M,), by the name of the metric: R@1, R@5, R@10, MRR and mAP."""
        scores = {f"R@{k}": self.found_in(k) for k in (1, 5, 10)}
        return scores | {"MRR": 1 / self.ranks, "mAP": self.average_precision()}

    def recall(self, k: int) -> float:
        return float(self.found_in(k).mean())

    @property
    def mean_reciprocal_rank(self) -> float:
        return float((1 / self.ranks).mean())

    @property
    def median_rank(self) -> float:
        return float(np.median(self.ranks))


def retrieve(audio: Tensor, texts: Tensor, owner: np.ndarray, same: np.ndarray | None = None) -> Retrieval:
    """Text to audio: audio (N, D), texts (M, D), owner (M,): index of the clip that each text describes.

    same (N,): clips with the same number are equally right, see `relevance_groups`. For audio to text, exchange both.
    Raises ConfigError for fewer than two clips, and for vectors that are not finite.
    """
    if len(audio) < 2:
        raise ConfigError("retrieval needs at least two clips")
    _must_be_finite(audio, texts)
    unit_texts = normalize(texts.double(), dim=1)
    unit_audio = normalize(audio.double(), dim=1)
    scores = (unit_texts @ unit_audio.T).numpy()  # (M, N)
    label = np.arange(len(audio)) if same is None else same
    right = label[None, :] == label[owner][:, None]  # (M, N)
    best = np.where(right, scores, -np.inf).max(1, keepdims=True)  # (M, 1)
    higher = scores > best
    equal = scores == best
    wrong_above = (higher & ~right).sum(1)
    wrong_equal = (equal & ~right).sum(1)
    right_equal = (equal & right).sum(1)
    return Retrieval(wrong_above, wrong_equal, right_equal, scores, right)


def chance(right: np.ndarray, count: int) -> dict[str, float]:
    """Expected scores of queries with `right` (M,) right answers each, if `count` answers are ordered at random.

    P(rank <= k) = 1 - C(N - g, k) / C(N, k) for g right answers among N, where rank is that of the first right one.
    """
    ranks = np.arange(1, count + 1)
    missed = np.ones((len(right), count + 1))  # P(rank > k), k = 0 ... N
    for k in range(count):
        missed[:, k + 1] = missed[:, k] * np.maximum(0, count - right - k) / (count - k)
    reached = 1 - missed.mean(0)  # P(rank <= k)
    harmonic = (1 / ranks).sum()
    precision = ((right - 1) / max(1, count - 1) * (count - harmonic) + harmonic) / count  # mean over the right clips
    return {f"R@{k}": float(reached[min(k, count)]) for k in (1, 5, 10)} | {
        "MRR": float((np.diff(reached) / ranks).sum()),
        "mAP": float(precision.mean()),
        "median rank": float(np.argmax(reached >= 0.5)),
    }


def relevance_groups(entries: Sequence[Entry], texts: Sequence[str], column: str | None) -> np.ndarray:
    """A number for each clip (N,): clips with the same number are equally right answers.

    They have the same value in the label column; a clip without a value is alone. Without a column, or if no clip has
    it, they have the same text.
    """
    values = [entry.labels.get(column) if column else None for entry in entries]
    names = list(texts)
    if any(value is not None for value in values):
        names = [f"item {i}" if value is None else f"value {value}" for i, value in enumerate(values)]
    return np.unique(names, return_inverse=True)[1]


def classify(
    audio: Tensor, classes: Sequence[str], embed_text: EmbedText, templates: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Zero-shot classes of clips audio (N, D): with all templates together (N,), and with each one (templates, N).

    A class is the renormalized mean of its prompts' embeddings (as CLIP, Radford et al. 2021, section 3.1.4).
    Raises ConfigError for a template without {}, and for vectors that are not finite.
    """
    prompts = normalize(embed_prompts(classes, templates, embed_text), dim=2)  # (templates, C, D)
    _must_be_finite(audio, prompts)
    single = (audio @ prompts.transpose(1, 2)).argmax(-1)  # (templates, N)
    together = (audio @ normalize(prompts.mean(0), dim=1).T).argmax(-1)  # (N,)
    return together.numpy(), single.numpy()


def _must_be_finite(audio: Tensor, texts: Tensor) -> None:
    """Raise ConfigError for NaN: NaN never scores higher, so every right clip would have rank 1."""
    for vectors, what in ((audio, "clips"), (texts, "texts")):
        if not torch.isfinite(vectors).all():
            raise ConfigError(f"the encoder gave values that are not finite for {what}")
