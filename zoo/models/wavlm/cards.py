"""Model cards of WavLM."""

from __future__ import annotations

from typing import Any, Literal

from zoo.cards import ModelCard
from zoo.models.hubert.cards import LARGE

ENCODER = "zoo.models.wavlm.model:WavLM"
_PAPER = "https://arxiv.org/abs/2110.13900"
_LICENSE = "CC-BY-SA-3.0"  # the license of github.com/microsoft/UniSpeech, to which the cards on the hub point
_LIBRISPEECH = "LibriSpeech, 960 h of English read speech"
_94_000_H = "Libri-Light, 60,000 h; GigaSpeech, 10,000 h; VoxPopuli, 24,000 h of English speech"
_SPEAKERS = {"speaker_widths": (512, 512, 512, 512, 1500)}


def _card(name: str, summary: str, data: str, parameters: float, **config: Any) -> ModelCard:
    return ModelCard(
        name,
        "wavlm",
        summary,
        config=config,
        source=f"hf:microsoft/{name}",
        license=_LICENSE,
        training_data=data,
        parameters=parameters,
        paper=_PAPER,
    )


CARDS = (
    _card("wavlm-base", "WavLM Base, 20 ms frames", _LIBRISPEECH, 94.4),
    _card("wavlm-base-plus", "WavLM Base on more data, 20 ms frames", _94_000_H, 94.4),
    _card("wavlm-large", "WavLM Large, 20 ms frames", _94_000_H, 315.4, **(LARGE | {"conv_bias": False})),
    _card("wavlm-base-sv", "WavLM Base with speaker vectors", f"{_LIBRISPEECH}; VoxCeleb1", 100.2, **_SPEAKERS),
    _card("wavlm-base-plus-sv", "WavLM Base+ with speaker vectors", f"{_94_000_H}; VoxCeleb1", 100.2, **_SPEAKERS),
)

Name = Literal["wavlm-base", "wavlm-base-plus", "wavlm-large", "wavlm-base-sv", "wavlm-base-plus-sv"]
"""All names, for type checkers: with one of them, zoo.load gives a WavLM."""
