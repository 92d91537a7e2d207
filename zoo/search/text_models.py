"""What an encoder must offer to be asked by text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from zoo import registry


@runtime_checkable
class TextEncoder(Protocol):
    """Texts and audio in one space."""

    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """(N, D), comparable with what `embed` gives for audio."""
        ...


def text_models() -> list[str]:
    """Registered models with weights that are a `TextEncoder`."""
    cards = map(registry.info, registry.list_models())
    return [c.name for c in cards if c.has_weights and issubclass(registry.encoder_class(c.family), TextEncoder)]
