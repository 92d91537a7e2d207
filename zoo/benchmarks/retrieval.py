"""What a joint embedding of audio and text is asked: to find clips by caption, and to name classes it never learned.

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
from zoo.prompts import embed_prompts

EmbedText = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True)
class Retrieval:
    """ranks (M,): place of the right clip among all, 1 = first, ties at their mean place. Recall: of ties, the share
    that an order by chance would find."""

    ranks: np.ndarray
    recall_at_1: float
    recall_at_10: float
    mean_reciprocal_rank: float
    median_rank: float


def retrieve(audio: Tensor, texts: Tensor, owner: np.ndarray, same: np.ndarray | None = None) -> Retrieval:
    """Text to audio: audio (N, D), texts (M, D), owner (M,): which clip each text describes.

    same (N,): clips of one number are as right as each other, such as those with one caption.
    Raises ConfigError for fewer than two clips, and for vectors that are not finite.
    """
    if len(audio) < 2:
        raise ConfigError("retrieval needs at least two clips")
    _must_be_finite(audio, texts)
    scores = (normalize(texts.double(), dim=1) @ normalize(audio.double(), dim=1).T).numpy()  # (M, N)
    label = np.arange(len(audio)) if same is None else same
    right = label[None, :] == label[owner][:, None]  # (M, N)
    best = np.where(right, scores, -np.inf).max(1, keepdims=True)
    wrong = ~right
    before, tied = ((scores > best) & wrong).sum(1), ((scores == best) & wrong).sum(1)
    ranks = 1 + before + tied / 2
    recall_at_1, recall_at_10 = (float(((k - before) / (tied + 1)).clip(0, 1).mean()) for k in (1, 10))
    return Retrieval(ranks, recall_at_1, recall_at_10, float((1 / ranks).mean()), float(np.median(ranks)))


def classify(
    audio: Tensor, classes: Sequence[str], embed_text: EmbedText, templates: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Zero-shot classes of clips audio (N, D): with all templates together (N,), and with each alone (templates, N).

    A class is the renormalised mean of its prompts' embeddings (as CLIP, Radford et al. 2021, section 3.1.4).
    Raises ConfigError for a template without {}, and for vectors that are not finite.
    """
    prompts = normalize(embed_prompts(classes, templates, embed_text), dim=2)  # (templates, C, D)
    _must_be_finite(audio, prompts)
    alone = (audio @ prompts.transpose(1, 2)).argmax(-1)  # (templates, N)
    together = (audio @ normalize(prompts.mean(0), dim=1).T).argmax(-1)  # (N,)
    return together.numpy(), alone.numpy()


def _must_be_finite(audio: Tensor, texts: Tensor) -> None:
    """No vector that is not a number is before another, which would make every clip the first."""
    for vectors, what in ((audio, "clips"), (texts, "texts")):
        if not torch.isfinite(vectors).all():
            raise ConfigError(f"the encoder gave values that are not finite for {what}")
