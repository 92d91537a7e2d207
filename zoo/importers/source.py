"""What the dispatcher hands to an importer, and what it gets back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.errors import CheckpointError, ZooError


@dataclass(frozen=True)
class ForeignSource:
    """Something that holds foreign weights.

    name: what the user calls it, for messages and provenance; path: directory or file.
    content: config.json of a directory, or what a file of torch.save holds.
    """

    name: str
    path: Path
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Foreign:
    """A model in zoo's terms: config for the family's Config, tensors under the names of its state_dict.

    layout: where it came from, for the record ("fairseq"); notes: what was dropped or filled in, likewise.
    tokenizer: for models that have one.
    """

    family: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    layout: str
    notes: dict[str, Any] = field(default_factory=dict)
    tokenizer: Any = None


@contextmanager
def understood(name: str) -> Iterator[None]:
    """Whatever values and shapes that make no sense lead to becomes a CheckpointError that names the source."""
    try:
        yield
    except ZooError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(f"{name}: its description or weights cannot be understood ({error})") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises CheckpointError when it is missing or no object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: must hold a JSON object, not a {type(content).__name__}")
    return content
