"""Model cards of AST."""

from __future__ import annotations

from zoo.cards import ModelCard

ENCODER = "zoo.models.ast.model:AST"
_PAPER = "https://arxiv.org/abs/2104.01778"
_LICENSE = "BSD-3-Clause"

CARDS = (
    ModelCard(
        "ast-audioset",
        "ast",
        "AST Base, one vector per 10.24 s; knows 527 kinds of sound",
        source="hf:MIT/ast-finetuned-audioset-10-10-0.4593",
        license=_LICENSE,
        training_data="AudioSet, 2,000,000 clips of 10 s with labels, after ImageNet",
        limits=(
            "Its vectors are trained for the 527 labels of AudioSet.",
            "A clip shorter than 10.24 s is padded, so short clips cost as much as long ones.",
        ),
        parameters=86.2,
        paper=_PAPER,
        scores=("AudioSet: 0.459 mAP (paper)",),
    ),
    ModelCard(
        "ast-speech-commands",
        "ast",
        "AST Base, one vector per 1.28 s; knows 35 spoken words",
        config={"frames": 128, "level": -6.845978, "spread": 2 * 5.5654526},
        source="hf:MIT/ast-finetuned-speech-commands-v2",
        license=_LICENSE,
        training_data="Speech Commands v2, 105,000 clips of 1 s, after ImageNet",
        limits=("Its vectors are trained for 35 words.",),
        parameters=85.4,
        paper=_PAPER,
        scores=("Speech Commands v2: 98.1 % accuracy (paper)",),
    ),
)
