"""Text prompts of classes, for zero-shot classification."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zoo.errors import ConfigError


def embed_prompts(
    classes: Sequence[str], templates: Sequence[str], embed_text: Callable[[Sequence[str]], Tensor]
) -> Tensor:
    """Embeddings of every template with {} replaced by every class: (templates, C, D).

    Raises ConfigError for a template without {}.
    """
    if invalid := [template for template in templates if "{}" not in template]:
        raise ConfigError(f"template {invalid[0]!r} has no {{}} for the name of the class")
    return torch.stack([embed_text([template.replace("{}", name) for name in classes]) for template in templates])
