"""Wrapped models have no cards: `zoo.wrap` makes them, and their checkpoints name the family."""

from __future__ import annotations

from zoo.cards import ModelCard

ENCODER = "zoo.models.wrapped.model:Wrapped"
CARDS: tuple[ModelCard, ...] = ()
