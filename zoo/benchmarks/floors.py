"""Baselines that stand in for a model: they need no training of their own, and every suite has them.

most frequent text    for word error rates: the commonest transcript of train, whatever the clip says
ridge on log-mel      for retrieval and zero-shot classes: linear regression from the mean and deviation of a clip's
                      log-mel to the text embeddings of the model, with its penalty chosen on dev

Legend: N clips, D width.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from zoo.benchmarks.evaluated import caption
from zoo.benchmarks.features import Features, extract
from zoo.benchmarks.items import EvalItem, EvalItems
from zoo.benchmarks.probe import ProbeConfig, Split, probe
from zoo.encoder import Encoder
from zoo.errors import ConfigError
from zoo.text.segment import Segment
from zoo.text.transcript import Transcript

RIDGE = "ridge on log-mel"
SAMPLE_RATE = 16_000  # at which clips are read, so that unreadable ones are left out as for a model


class MostFrequentText:
    """It transcribes every clip as the most frequent text of train; of equally frequent ones, the first."""

    sample_rate = SAMPLE_RATE

    def __init__(self, items: EvalItems) -> None:
        """Raises ConfigError if no clip of train has a text."""
        texts = [item.entry.text for item in items.items if item.entry.split == "train" and item.entry.text]
        if not texts:
            raise ConfigError("no clip of train has a text, so none is the most frequent")
        self.text = Counter(texts).most_common(1)[0][0]

    def transcribe(self, waves: Sequence[Any], sample_rate: int | None = None, **options: Any) -> list[Transcript]:
        return [Transcript("", 0.0, [Segment(0.0, 0.0, self.text)]) for _ in waves]


class RidgeOnLogmel:
    """Audio embeddings by ridge regression to the mean text embedding of a clip's captions; texts as the model's."""

    def __init__(self, model: Encoder, logmel: Encoder, items: EvalItems, cache: Path) -> None:
        """logmel: encoder whose pooled frames are the input. Raises ConfigError if train or dev has no captions."""
        self.model, self.logmel = model, logmel
        self.sample_rate = logmel.sample_rate
        features = extract(logmel, items, cache)
        with_caption = [i for i, item in enumerate(items.items) if caption(item) and i not in features.failed]
        splits = {}
        for name in ("train", "dev"):
            indices = [i for i in with_caption if items.items[i].entry.split == name]
            if not indices:
                raise ConfigError(f"the {name} split has no clip with a caption")
            splits[name] = self._split(features, [items.items[i] for i in indices], np.array(indices))
        # The third split is only scored, and the scores are not used.
        self._probe = probe(splits["train"], splits["dev"], splits["dev"], [0], ProbeConfig(kind="value", metric="r2"))

    def _split(self, features: Features, items: Sequence[EvalItem], indices: np.ndarray) -> Split:
        """Clips with the mean embedding of their captions as targets (N, D)."""
        captions = [[text for text in item.entry.captions if text.strip()] for item in items]
        vectors = self.embed_text([text for texts in captions for text in texts])
        targets = [part.mean(0).numpy() for part in vectors.split([len(texts) for texts in captions])]
        groups = np.array([item.group for item in items])
        return Split(lambda layer: features.pooled(layer, indices), np.stack(targets), groups)

    def count_frames(self, samples: int) -> int:
        return self.logmel.count_frames(samples)

    def embed(self, waves: Any, sample_rate: int | None = None) -> Tensor:
        """Unit vectors (N, D)."""
        pooled = self.logmel.embed(waves, sample_rate, pooling="stats")
        without_targets = Split(lambda layer: pooled, np.empty(0), np.empty(0))
        outputs = self._probe.predict(without_targets)  # (S, N, D)
        return normalize(torch.from_numpy(outputs.mean(0)).float(), dim=1)

    def embed_text(self, texts: Sequence[str]) -> Tensor:
        return self.model.embed_text(texts)  # type: ignore[operator]


def ridge_fingerprint(model: str, logmel: str) -> str:
    """The fingerprint of a ridge baseline, from those of the model and of the log-mel encoder."""
    return hashlib.sha256(f"ridge {model} {logmel}".encode()).hexdigest()[:16]
