"""Model cards of MuLan."""

from __future__ import annotations

from typing import Any, Literal

from zoo.cards import PACKAGED, ModelCard

ENCODER = "zoo.models.mulan.model:MuLan"
DEFAULT = "mulan-mini"
_PAPER = "https://arxiv.org/abs/2208.12415"

_MINI: dict[str, Any] = {
    "window_seconds": 3.0,
    "temperature": 0.4,
    "resnet_width": 32,
    "resnet_blocks": (1, 1, 1, 1),
    "resnet_stem_stride": 4,
    "audio_dim": 128,
    "audio_layers": 4,
    "audio_heads": 4,
    "audio_ffn_dim": 512,
    "patch_stride": 16,
    "vocab_size": 564,
    "text_dim": 128,
    "text_layers": 2,
    "text_heads": 4,
    "text_ffn_dim": 512,
    "text_positions": 64,
    "text_length": 64,
}

CARDS = (
    ModelCard(
        "mulan-resnet50",
        "mulan",
        "MuLan with a ResNet-50 on 64 mels and BERT-base",
        license="MIT",
        parameters=132.8,
        paper=_PAPER,
        recipe="python -m zoo.recipes.mulan.train --config resnet50",
    ),
    ModelCard(
        "mulan-ast",
        "mulan",
        "MuLan with an AST on 128 mels and BERT-base",
        config={"tower": "ast", "mels": 128},
        license="MIT",
        parameters=195.3,
        paper=_PAPER,
        recipe="python -m zoo.recipes.mulan.train --config ast",
    ),
    ModelCard(
        "mulan-mini",
        "mulan",
        "MuLan with a ResNet and a BERT small enough to train on two cores",
        config=_MINI,
        source=PACKAGED,
        license="MIT",
        training_data="ten hours of music composed by rule (TimGM6mb soundfont), and an hour of renderings of "
        "public-domain scores (FluidR3 soundfont), with captions that state facts",
        limits=(
            "It can distinguish instruments, instrument families and styles, and tempo a little. For meter it is no "
            "better than a regression on log-mel statistics. It was not trained on moods, voices or artists.",
            "Its vocabulary is the 564 word pieces of its captions, in English.",
            "It was trained only on two synthesizers, and never on recordings of real instruments.",
        ),
        parameters=2.6,
        paper=_PAPER,
        scores=(
            "text to music among 365 clips, generated and rendered, of unseen pieces: R@1 0.59, R@10 0.90 (ridge on "
            "log-mel 0.10 and 0.48, chance 0.01 and 0.06)",
        ),
        assets="mulan-mini",
        recipe="python -m zoo.recipes.mulan.train --config real init=RUN/best",
    ),
    ModelCard(
        "mulan-mini-ast",
        "mulan",
        "MuLan with an AST and a BERT small enough to train on two cores",
        config=_MINI | {"tower": "ast"},
        license="MIT",
        parameters=1.3,
        paper=_PAPER,
        assets="mulan-mini",
        recipe="python -m zoo.recipes.mulan.train model.tower=ast",
    ),
)

Name = Literal["mulan", "mulan-resnet50", "mulan-ast", "mulan-mini", "mulan-mini-ast"]
"""All names, for type checkers: with one of them, zoo.load gives a MuLan."""
