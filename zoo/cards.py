"""Model cards: facts about a model before it is loaded. Each family has its cards in `zoo/models/FAMILY/cards.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PACKAGED = "package"


@dataclass(frozen=True)
class ModelCard:
    """Facts about a model before it is loaded.

    name: the name for `zoo.load` and `zoo.create`; family: folder under zoo/models.
    config: options that differ from the defaults of the family.
    source: "hf:owner/name[@revision]" if weights are published, PACKAGED if they come with zoo (zoo/assets/NAME), None
        if `zoo.create` or a recipe must make them.
    license: of the weights, or of the code without any; empty if it is not stated.
    parameters: millions. scores: published results, "task: figure (where it is published)".
    assets: folder under zoo/assets with files that the untrained model needs, such as a vocabulary.
    recipe: the command that trains it, if there is one.
    limits: what the model cannot do, or was never tested on, one sentence each.
    """

    name: str
    family: str
    summary: str
    config: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    license: str = ""
    training_data: str = "none"
    parameters: float = 0.0
    paper: str = ""
    scores: tuple[str, ...] = ()
    assets: str = ""
    recipe: str = ""
    limits: tuple[str, ...] = ()

    @property
    def has_weights(self) -> bool:
        """Whether `zoo.load` works: weights are published, or the model has no weights."""
        return self.source is not None or self.parameters == 0
