"""Encoders that embed text as well as audio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from zoo import registry


@runtime_checkable
class TextEncoder(Protocol):
    """An encoder that embeds texts and audio in one space. An index of its vectors can be searched by text."""

    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """N texts -> (N, D), comparable with the vectors that `embed` returns for audio."""
        ...


def text_models() -> list[str]:
    """Names of the registered models that have weights and embed text."""
    cards = map(registry.info, registry.list_models())
    return [c.name for c in cards if c.has_weights and issubclass(registry.encoder_class(c.family), TextEncoder)]
