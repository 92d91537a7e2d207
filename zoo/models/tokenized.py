"""Encoders with a tokenizer: it is stored in the checkpoint, and the fingerprint covers it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from zoo.encoder import Encoder
from zoo.errors import CheckpointError

TOKENIZER = "tokenizer.json"


class AnyTokenizer(Protocol):
    def save(self, path: str | Path) -> None: ...

    def fingerprint(self) -> str: ...


def check_ids(ids: int, rows: int, directory: Path) -> None:
    """Raises CheckpointError if a tokenizer in `directory` has more ids than the model has embeddings."""
    if ids > rows:
        raise CheckpointError(
            f"{directory}: the tokenizer has {ids} ids, but the weights have {rows} rows; put the tokenizer of these "
            "weights there"
        )


class TokenizedEncoder(Encoder):
    """An Encoder with a tokenizer or None. Subclasses declare its type and implement `load_assets`."""

    tokenizer: AnyTokenizer | None = None

    def fingerprint(self) -> str:
        """As Encoder.fingerprint, and over the tokenizer, because another tokenizer gives other tokens."""
        weights = super().fingerprint()
        if self.tokenizer is None:
            return weights
        return hashlib.sha256(f"{weights} {self.tokenizer.fingerprint()}".encode()).hexdigest()[:16]

    def save_assets(self, directory: Path) -> list[str]:
        if self.tokenizer is not None:
            self.tokenizer.save(directory / TOKENIZER)
        return []
