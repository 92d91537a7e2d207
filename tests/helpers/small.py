"""Every registered model in a small size for tests: the same structure with few, narrow layers."""

from __future__ import annotations

from typing import Any

import torch

import zoo
from zoo import testing
from zoo.encoder import Encoder

_HUBERT: dict[str, Any] = {"layers": 3, "dim": 48, "heads": 4, "ffn_dim": 96, "conv_dim": 32, "position_groups": 4}
SMALL: dict[str, dict[str, Any]] = {  # a family without an entry is small
    "hubert": _HUBERT,
    "wavlm": _HUBERT,
    "clap": {
        "window_seconds": 3.0,
        "fused_seconds": 7.5,
        "mel_hop": 960,
        "dim": 32,
        "mels": 16,
        "image": 64,
        "audio_dim": 16,
        "audio_depths": (1, 2, 1),
        "audio_heads": (2, 2, 4),
        "attention_window": 4,
        "vocab_size": 300,
        "text_dim": 32,
        "text_layers": 2,
        "text_heads": 4,
        "text_ffn_dim": 64,
        "text_positions": 64,
        "text_length": 48,
    },
    "ast": {"frames": 100, "layers": 2, "dim": 48, "heads": 4, "ffn_dim": 96},
    "mulan": {
        "resnet_width": 8,
        "resnet_blocks": (1, 1, 1, 1),
        "audio_dim": 48,
        "audio_layers": 2,
        "audio_heads": 4,
        "audio_ffn_dim": 96,
        "text_dim": 32,
        "text_layers": 2,
        "text_heads": 4,
        "text_ffn_dim": 64,
        "text_positions": 64,
        "text_length": 48,
    },
    "whisper": {
        "audio_ctx": 150,
        "dim": 48,
        "heads": 4,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "decoder_heads": 4,
        "text_ctx": 64,
        "vocab_size": 300,
        "alignment_heads": ((0, 1), (1, 3)),
    },
}


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {"whisper-tiny, padding none": ("whisper-tiny", {"padding": "none"})}
"""Further configurations that must keep the contract: name for the test -> registered name, options."""


def small(name: str, seed: int = 0) -> Encoder:
    """A small version of a registered model or variant, with weights that depend only on the seed."""
    name, options = VARIANTS.get(name, (name, {}))
    torch.manual_seed(seed)
    return zoo.create(name, **SMALL.get(zoo.info(name).family, {}) | options)


def structures() -> dict[str, list[str]]:
    """The distinct shrunken configurations: the first name or variant of each -> all names that share it."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in [*zoo.list_models(), *VARIANTS]:
        model = small(name)
        found.setdefault((model.family, repr(model.config)), []).append(name)
    return {names[0]: names for names in found.values()}


def noise(seconds: float, seed: int = 0, sample_rate: int = 16_000) -> torch.Tensor:
    """Test audio: colored noise with a slow envelope, (S,) in [-1, 1]."""
    return testing.noise(seconds, sample_rate, seed)
