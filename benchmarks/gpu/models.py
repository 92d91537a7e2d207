"""Models of zoo with random weights on the device, in the sizes of a run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import zoo
from benchmarks.gpu.machine import Machine
from benchmarks.gpu.sizes import Size
from zoo.encoder import Encoder
from zoo.models.whisper.model import Whisper
from zoo.models.whisper.tokenizer import WhisperTokenizer
from zoo.recipes.whisper.vocabulary import train_tokenizer
from zoo.text.languages import LANGUAGES

RATE = 16_000


def create(name: str, machine: Machine, size: Size, **options: Any) -> Encoder:
    """A registered model with fresh weights, made on the device: on a CPU the large ones would take long."""
    torch.manual_seed(0)
    with torch.device(machine.device):
        model = zoo.create(name, **size.overrides.get(zoo.info(name).family, {}) | options)
    model = model.to(machine.device)
    if isinstance(model, Whisper):
        model.tokenizer = tokenizer()
    return model


def tokenizer() -> WhisperTokenizer:
    """All bytes, and the special tokens of a Whisper of 99 languages."""
    return train_tokenizer(["a text"], 256, LANGUAGES[:99])


def clips(count: int, longest: float) -> list[Tensor]:
    """Noise of 1 to `longest` seconds, in a fixed random order."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.linspace(1, longest, count)[torch.randperm(count, generator=generator)] * RATE
    return [torch.randn(int(length), generator=generator) * 0.1 for length in lengths.tolist()]
