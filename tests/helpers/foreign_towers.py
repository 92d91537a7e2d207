"""Audio towers of torchvision and transformers with random weights; no parameter has its trivial initial value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet
from transformers import ASTConfig, ASTModel


def randomize_vectors(model: nn.Module) -> nn.Module:
    """Give vectors (norms, biases, tokens, positions) and running statistics random values, as after training."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or "embeddings." in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.2)
                module.running_var.uniform_(0.5, 2)
    return model.eval()


def resnet_model(blocks: Sequence[int]) -> ResNet:
    """blocks (3, 4, 6, 3): ResNet-50."""
    torch.manual_seed(0)
    return randomize_vectors(ResNet(Bottleneck, list(blocks)))


def ast_model(**overrides: Any) -> ASTModel:
    """An AST with 7 steps of 3 bands by default."""
    torch.manual_seed(0)
    size: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "num_mel_bins": 36,
        "max_length": 76,
    }
    return randomize_vectors(ASTModel(ASTConfig(**(size | overrides))))


def spectrograms(clips: int, frames: int, mels: int) -> Tensor:
    """Standardized noise (B, T, N) that changes slowly, like music."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(clips, 1, frames // 4, mels // 4, generator=generator)
    return nn.functional.interpolate(coarse, (frames, mels), mode="bilinear")[:, 0]
