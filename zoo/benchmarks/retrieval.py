"""Evaluate a joint embedding of audio and text: find clips by caption, and classify without training (zero-shot).

Legend: N clips, M captions, C classes, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from zoo.errors import ConfigError
from zoo.text.prompts import embed_prompts

EmbedText = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True)
class Retrieval:
    """The rank of the best right clip for each text. All arrays are (M,).

    before: number of wrong clips that score higher than the best right one. wrong, right: number of wrong and right
    clips with exactly its score, itself included. Ties count as their expected value over random orders.
    """

    before: np.ndarray
    wrong: np.ndarray
    right: np.ndarray

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

    same (N,): clips with the same number are equally right, for example clips with the same caption.
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
    return Retrieval(wrong_above, wrong_equal, right_equal)


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
