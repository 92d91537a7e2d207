"""Low-rank updates of frozen linear layers (Hu et al. 2021, arXiv 2106.09685).

y = W x + b + (alpha / r) B A x, A (r, I) random, B (O, r) zero at first. Q, K and V are one product here, so they share
an A. The exported model is an ordinary one, with W + (alpha / r) B A instead of W.

peft is not used: this is one class, the names of the modules stay the same, and a run resumes like any other.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.nn.linear import Linear
from zoo.recipes.whisper.config import LoraConfig

Model = TypeVar("Model", bound=nn.Module)


class LoraLinear(Linear):
    """A Linear with a frozen weight and a trained low-rank update."""

    def __init__(self, base: nn.Linear, config: LoraConfig) -> None:
        super().__init__(base.in_features, base.out_features, base.bias is not None)
        self.weight, self.bias = base.weight, base.bias
        self.scale, self.dropout = config.alpha / config.rank, config.dropout
        self.lora_a = nn.Parameter(torch.empty(config.rank, base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, config.rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        update = F.linear(F.linear(F.dropout(x, self.dropout, self.training), self.lora_a), self.lora_b)
        return super().forward(x) + update * self.scale

    def plain(self) -> Linear:
        """A Linear with the update added to its weight."""
        linear = Linear(self.in_features, self.out_features, self.bias is not None)
        linear.weight = nn.Parameter((self.weight + self.scale * self.lora_b @ self.lora_a).detach())
        linear.bias = self.bias
        return linear.train(self.training)


def add_lora(model: nn.Module, config: LoraConfig) -> None:
    """Freeze the model and add an update to every linear layer named by an ending in config.modules, in place.

    Raises ConfigError for an ending without a layer.
    """
    model.requires_grad_(False)
    used: set[str] = set()
    for name, module in list(model.named_modules()):
        ending = _ending(name, config.modules)
        if ending and isinstance(module, nn.Linear):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, LoraLinear(module, config))
            used.add(ending)
    if missing := sorted(set(config.modules) - used):
        layers = sorted({".".join(n.split(".")[-2:]) for n, m in model.named_modules() if isinstance(m, nn.Linear)})
        raise ConfigError(f"tune.lora.modules: no layer ends in {', '.join(missing)}; there are {', '.join(layers)}")


def without_lora(model: Model) -> Model:
    """An ordinary model with the same outputs; the model itself if it has no updates."""
    if not any(isinstance(module, LoraLinear) for module in model.modules()):
        return model
    plain = copy.deepcopy(model)
    for name, module in list(plain.named_modules()):
        if isinstance(module, LoraLinear):
            parent, _, own = name.rpartition(".")
            setattr(plain.get_submodule(parent), own, module.plain())
    return plain.requires_grad_(True)


def _ending(name: str, modules: Sequence[str]) -> str | None:
    return next((ending for ending in modules if name.endswith(f".{ending}")), None)
