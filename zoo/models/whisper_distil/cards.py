"""Model cards of distil-whisper: Whispers with few decoder layers, distilled on pseudo-labels (arXiv 2311.00430)."""

from __future__ import annotations

from typing import Literal

from zoo.cards import ModelCard

ENCODER = "zoo.models.whisper.model:Whisper"

_FIRST = (
    "22,000 h of English speech with transcripts by Whisper: GigaSpeech, The People's Speech, Common Voice, "
    "LibriSpeech, VoxPopuli, TED-LIUM, AMI, SPGISpeech and Fisher"
)
_LIMITS = (
    "It writes English only.",
    "Its alignment heads are read from its generation_config.json, if they are there.",
)


def _card(
    name: str, parameters: float, *, layers: tuple[int, int], dim: int, mels: int, vocab: int, data: str = _FIRST
) -> ModelCard:
    """layers: of encoder and decoder; data: what it was distilled on."""
    config = {
        "mels": mels,
        "dim": dim,
        "heads": dim // 64,
        "decoder_heads": dim // 64,
        "encoder_layers": layers[0],
        "decoder_layers": layers[1],
        "vocab_size": vocab,
    }
    return ModelCard(
        name,
        "whisper",
        f"distil-whisper: English transcription with {layers[1]} decoder layers",
        config=config,
        source=f"hf:distil-whisper/{name}",
        license="MIT",
        training_data=data,
        limits=_LIMITS,
        parameters=parameters,
        paper="https://arxiv.org/abs/2311.00430",
    )


CARDS = (
    _card("distil-small.en", 165.0, layers=(12, 4), dim=768, mels=80, vocab=51_864),
    _card("distil-medium.en", 392.9, layers=(24, 2), dim=1024, mels=80, vocab=51_864),
    _card("distil-large-v2", 754.4, layers=(32, 2), dim=1280, mels=80, vocab=51_865),
    _card("distil-large-v3", 754.5, layers=(32, 2), dim=1280, mels=128, vocab=51_866),
    _card(
        "distil-large-v3.5",
        754.5,
        layers=(32, 2),
        dim=1280,
        mels=128,
        vocab=51_866,
        data="98,000 h of English speech of public data sets, with transcripts by Whisper large-v3",
    ),
)

Name = Literal["distil-small.en", "distil-medium.en", "distil-large-v2", "distil-large-v3", "distil-large-v3.5"]
"""All names, for type checkers: with one of them, zoo.load gives a Whisper."""
