"""What is known of a model before it is loaded. Each family has its cards in `zoo/models/FAMILY/cards.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PACKAGED = "package"


@dataclass(frozen=True)
class ModelCard:
    """What there is to know of a model before it is loaded.

    name: what `zoo.load` and `zoo.create` take; family: folder under zoo/models.
    config: where it differs from the family's defaults.
    source: "hf:owner/name" where weights are published, PACKAGED where they come with zoo (zoo/assets/NAME), None where
        `zoo.create` or a recipe must make them.
    parameters: millions. scores: published results, "task: figure (where it is printed)".
    assets: folder under zoo/assets with what an untrained one needs beside fresh weights, such as a vocabulary.
    recipe: the command that trains it, where there is one.
    limits: what it cannot do, or was never tried on, one sentence each.
    """

    name: str
    family: str
    summary: str
    config: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    license: str = "MIT"
    training_data: str = "none"
    parameters: float = 0.0
    paper: str = ""
    scores: tuple[str, ...] = ()
    assets: str = ""
    recipe: str = ""
    limits: tuple[str, ...] = ()

    @property
    def has_weights(self) -> bool:
        """Whether there is anything to load: published weights, or nothing to learn in the first place."""
        return self.source is not None or self.parameters == 0
