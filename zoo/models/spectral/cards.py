"""Model cards of spectral features, which have no weights."""

from __future__ import annotations

from typing import Literal

from zoo.cards import ModelCard

ENCODER = "zoo.models.spectral.model:Spectral"

CARDS = (
    ModelCard(
        "mfcc",
        "spectral",
        "13 MFCC and two orders of differences, 10 ms frames",
        config={"kind": "mfcc", "bands": 13},
        license="MIT",
    ),
    ModelCard(
        "logmel",
        "spectral",
        "80 log-mel bands, 10 ms frames",
        license="MIT",
    ),
)

Name = Literal["mfcc", "logmel"]
"""All names, for type checkers: with one of them, zoo.load gives a Spectral."""
