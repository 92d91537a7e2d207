"""Model cards of Whisper."""

from __future__ import annotations

from typing import Any, Literal

from zoo.cards import PACKAGED, ModelCard
from zoo.models.whisper.sizes import PUBLISHED, WhisperSize

ENCODER = "zoo.models.whisper.model:Whisper"
DEFAULT = "whisper-mini"
_MINI: dict[str, Any] = {
    "audio_ctx": 400,
    "dim": 192,
    "heads": 4,
    "decoder_heads": 4,
    "encoder_layers": 4,
    "decoder_layers": 2,
    "text_ctx": 192,
    "vocab_size": 1_841,
    "padding": "none",
    "pad_positions": 25,
    "min_positions": 50,
}

_DATA = {
    False: "680,000 h of speech from the web in 97 languages, weakly labeled",
    True: "5,000,000 h of speech from the web, 1,000,000 of them weakly labeled, the others labeled by large-v2",
}


def _published(published: WhisperSize) -> ModelCard:
    """The card of one size."""
    size, dim, third = published.name, published.dim, published.third
    by_layer = [part.split(":") for part in published.heads.split(";")]
    english = size.endswith(".en")
    config = {
        "mels": 128 if third else 80,
        "dim": dim,
        "heads": dim // 64,
        "decoder_heads": dim // 64,
        "encoder_layers": published.layers[0],
        "decoder_layers": published.layers[1],
        "vocab_size": 51_864 if english else 51_866 if third else 51_865,
        "alignment_heads": tuple((int(layer), int(head)) for layer, row in by_layer for head in row.split()),
    }
    return ModelCard(
        f"whisper-{size}",
        "whisper",
        f"Whisper {size}: {'English' if english else 'multilingual'} transcription"
        + ("" if english or size == "turbo" else " and translation to English"),
        config=config,
        source=f"hf:openai/{published.repository}",
        license="MIT",
        training_data=_DATA[third],
        limits=published.limits,
        parameters=published.parameters,
        paper="https://arxiv.org/abs/2212.04356",
    )


CARDS = (
    ModelCard(
        "whisper-mini",
        "whisper",
        "Whisper small enough to train on two cores; English keywords and digits, windows of 8 s",
        config=_MINI,
        source=PACKAGED,
        license="MIT",
        training_data="twenty English keywords, and strings of digits: 88 minutes of generated speech (eSpeak NG), 37 "
        "minutes of natural synthetic speech (Kokoro-82M's voices and blends of them, Apache-2.0), and 1,200 digits of "
        "three speakers (FSDD, CC BY-SA 4.0)",
        limits=(
            "It outputs only twenty English keywords and the digits; any other audio is transcribed as these.",
            "Its training data has three real voices; for other real voices, one in five single digits is wrong.",
            "It processes 8 s at a time. The accuracy of its timestamps was never measured.",
        ),
        parameters=3.5,
        paper="https://arxiv.org/abs/2212.04356",
        scores=(
            "20 keywords, generated, unseen voices: 0 errors in 379 test clips; its vocabulary is these words and "
            "the digits",
            "unseen strings of digits, generated, unseen voices: 1.2 % WER",
            "digits, real, three known speakers: 0.7 % WER; three unknown speakers: 18.5 %",
        ),
        recipe="python -m zoo.recipes.whisper.train --config natural",
    ),
    *(_published(size) for size in PUBLISHED),
)

Name = Literal[
    "whisper",
    "whisper-mini",
    "whisper-tiny",
    "whisper-tiny.en",
    "whisper-base",
    "whisper-base.en",
    "whisper-small",
    "whisper-small.en",
    "whisper-medium",
    "whisper-medium.en",
    "whisper-large",
    "whisper-large-v2",
    "whisper-large-v3",
    "whisper-turbo",
]
"""All names, for type checkers: with one of them, zoo.load gives a Whisper."""
