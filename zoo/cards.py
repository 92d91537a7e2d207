"""The table of models that zoo knows: one card each. Plain data; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelCard:
    """What there is to know of a model before it is loaded.

    name: what `zoo.load` and `zoo.create` take; family: key of FAMILIES.
    config: where it differs from the family's defaults.
    source: "hf:owner/name" where weights are published, None where `zoo.create` or a recipe must make them.
    parameters: millions. scores: published results, "task: figure (where it is printed)".
    """

    name: str
    family: str
    summary: str
    config: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    licence: str = "MIT"
    training_data: str = "none"
    parameters: float = 0.0
    paper: str = ""
    scores: tuple[str, ...] = ()

    @property
    def has_weights(self) -> bool:
        """Whether there is anything to load: published weights, or nothing to learn in the first place."""
        return self.source is not None or self.parameters == 0


FAMILIES: dict[str, str] = {
    "hubert": "zoo.models.hubert:HuBERT",
    "mulan": "zoo.models.mulan:MuLan",
    "spectral": "zoo.models.spectral:Spectral",
}
"""Family name -> "module:class". A checkpoint names its family, never a class, so loading one cannot import at will."""

_HUBERT_PAPER = "https://arxiv.org/abs/2106.07447"
_MULAN_PAPER = "https://arxiv.org/abs/2208.12415"
_LARGE: dict[str, Any] = {
    "conv_norm": "layer",
    "conv_bias": True,
    "normalize": True,
    "norm_first": True,
    "layers": 24,
    "dim": 1024,
    "heads": 16,
    "ffn_dim": 4096,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "layerdrop": 0.0,
}
_FAST: dict[str, Any] = {"frontend": "logmel", "frame_ms": 40}

CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        "hubert-base",
        "hubert",
        "HuBERT Base, 20 ms frames, trained on LibriSpeech",
        source="hf:facebook/hubert-base-ls960",
        licence="Apache-2.0",
        training_data="LibriSpeech, 960 h of English read speech",
        parameters=94.4,
        paper=_HUBERT_PAPER,
        scores=("SUPERB phone recognition: 5.41 % PER", "SUPERB speech recognition: 6.42 % WER"),
    ),
    ModelCard(
        "hubert-large",
        "hubert",
        "HuBERT Large, 20 ms frames, trained on Libri-Light",
        config=_LARGE,
        source="hf:facebook/hubert-large-ll60k",
        licence="Apache-2.0",
        training_data="Libri-Light, 60,000 h of English read speech",
        parameters=315.4,
        paper=_HUBERT_PAPER,
        scores=("LibriSpeech, 960 h labels, Transformer LM: 1.9 % / 3.3 % WER test-clean / other",),
    ),
    ModelCard(
        "hubert-xlarge",
        "hubert",
        "HuBERT X-Large, 20 ms frames, trained on Libri-Light",
        config=_LARGE | {"layers": 48, "dim": 1280, "ffn_dim": 5120},
        source="hf:facebook/hubert-xlarge-ll60k",
        licence="Apache-2.0",
        training_data="Libri-Light, 60,000 h of English read speech",
        parameters=962.5,
        paper=_HUBERT_PAPER,
        scores=("LibriSpeech, 960 h labels, Transformer LM: 1.8 % / 2.9 % WER test-clean / other",),
    ),
    ModelCard(
        "hubert-fast",
        "hubert",
        "HuBERT Base on log-mel, 40 ms frames, cheap to train",
        config=_FAST,
        parameters=91.7,
        paper="https://arxiv.org/abs/2309.13860",
    ),
    ModelCard(
        "hubert-fast-20ms",
        "hubert",
        "HuBERT Base on log-mel, 20 ms frames, cheap to train",
        config=_FAST | {"frame_ms": 20},
        parameters=91.7,
        paper="https://arxiv.org/abs/2309.13860",
    ),
    ModelCard(
        "mulan-resnet50",
        "mulan",
        "MuLan with a ResNet-50 on 64 mels and BERT-base",
        parameters=132.8,
        paper=_MULAN_PAPER,
    ),
    ModelCard(
        "mulan-ast",
        "mulan",
        "MuLan with an AST on 128 mels and BERT-base",
        config={"tower": "ast", "mels": 128},
        parameters=195.3,
        paper=_MULAN_PAPER,
    ),
    ModelCard(
        "mfcc",
        "spectral",
        "13 MFCC and two orders of differences, 10 ms frames",
        config={"kind": "mfcc", "bands": 13},
    ),
    ModelCard(
        "logmel",
        "spectral",
        "80 log-mel bands, 10 ms frames",
    ),
)
