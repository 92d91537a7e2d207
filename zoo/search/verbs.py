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
    """Registered models that are a `TextEncoder`."""
    return [
        n for n in registry.list_models() if issubclass(registry.encoder_class(registry.info(n).family), TextEncoder)
    ]
