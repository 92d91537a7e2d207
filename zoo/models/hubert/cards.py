"""Model cards of HuBERT."""

from __future__ import annotations

from typing import Any, Literal

from zoo.cards import PACKAGED, ModelCard

ENCODER = "zoo.models.hubert.model:HuBERT"
DEFAULT = "hubert-mini"
_PAPER = "https://arxiv.org/abs/2106.07447"

LARGE: dict[str, Any] = {
    "conv_norm": "layer",
    "conv_bias": True,
    "normalize": True,
    "norm_first": True,
    "layers": 24,
    "dim": 1024,
    "heads": 16,
    "ffn_dim": 4096,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "layerdrop": 0.0,
}

_MINI: dict[str, Any] = {
    "frontend": "logmel",
    "conv_dim": 256,
    "layers": 4,
    "dim": 256,
    "heads": 4,
    "ffn_dim": 1024,
    "position_kernel": 64,
    "position_groups": 16,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "layerdrop": 0.0,
    "unit_dim": 128,
    "units": (500,),
}

_FAST: dict[str, Any] = {"frontend": "logmel", "frame_ms": 40}

CARDS = (
    ModelCard(
        "hubert-mini",
        "hubert",
        "HuBERT on log-mel, 20 ms frames, with 100 units (learned from 500)",
        config=_MINI,
        source=PACKAGED,
        license="MIT",
        training_data="11 hours of generated speech in five languages (eSpeak NG), 50 minutes of natural synthetic "
        "English (Kokoro-82M's voices and blends of them, Apache-2.0) and 3 hours of recordings: AN4 "
        "(BSD-like), FSDD (CC BY-SA 4.0), Asterisk's prompts (CC BY-SA 3.0, CC BY 3.0), Picovoice's wake words "
        "(Apache-2.0), cuts of LibriSpeech and others (CC BY 4.0); no labels. Targets are 500 units of layer 3 of "
        "Whisper tiny.en (MIT)",
        limits=(
            "Semi-supervised: its targets come from a Whisper model, which was trained on transcripts. Results with "
            "MFCC targets only are in recipes/hubert and in the results of the real suite.",
            "Its upper layers encode what is spoken; its layer 0 encodes the speaker, about as well as log-mel "
            "statistics do.",
            "It was trained on only 3 hours of real speech, mostly English, mostly single words or short phrases.",
            "Its 100 units were compared with phones on generated speech only, because the real speech here has no "
            "alignments.",
        ),
        parameters=4.0,
        paper=_PAPER,
        scores=(
            "phones, generated, unseen voices: 0.81 accuracy (MFCC 0.65, untrained 0.62)",
            "digits, real, unseen speakers (FSDD): 0.94 accuracy (MFCC 0.76, untrained 0.78)",
            "wake words, real: 0.99 accuracy (MFCC 0.87, untrained 0.98)",
        ),
        recipe="python -m zoo.recipes.hubert.train --config natural",
    ),
    ModelCard(
        "hubert-base",
        "hubert",
        "HuBERT Base, 20 ms frames, trained on LibriSpeech",
        source="hf:facebook/hubert-base-ls960",
        license="Apache-2.0",
        training_data="LibriSpeech, 960 h of English read speech",
        parameters=94.4,
        paper=_PAPER,
        scores=("SUPERB phone recognition: 5.41 % PER", "SUPERB speech recognition: 6.42 % WER"),
    ),
    ModelCard(
        "hubert-large",
        "hubert",
        "HuBERT Large, 20 ms frames, trained on Libri-Light",
        config=LARGE,
        source="hf:facebook/hubert-large-ll60k",
        license="Apache-2.0",
        training_data="Libri-Light, 60,000 h of English read speech",
        parameters=315.4,
        paper=_PAPER,
        scores=("LibriSpeech, 960 h labels, Transformer LM: 1.9 % / 3.3 % WER test-clean / other",),
    ),
    ModelCard(
        "hubert-xlarge",
        "hubert",
        "HuBERT X-Large, 20 ms frames, trained on Libri-Light",
        config=LARGE | {"layers": 48, "dim": 1280, "ffn_dim": 5120},
        source="hf:facebook/hubert-xlarge-ll60k",
        license="Apache-2.0",
        training_data="Libri-Light, 60,000 h of English read speech",
        parameters=962.5,
        paper=_PAPER,
        scores=("LibriSpeech, 960 h labels, Transformer LM: 1.8 % / 2.9 % WER test-clean / other",),
    ),
    ModelCard(
        "hubert-fast",
        "hubert",
        "HuBERT Base on log-mel, 40 ms frames, cheap to train",
        config=_FAST,
        license="MIT",
        parameters=91.7,
        paper="https://arxiv.org/abs/2309.13860",
    ),
    ModelCard(
        "hubert-fast-20ms",
        "hubert",
        "HuBERT Base on log-mel, 20 ms frames, cheap to train",
        config=_FAST | {"frame_ms": 20},
        license="MIT",
        parameters=91.7,
        paper="https://arxiv.org/abs/2309.13860",
    ),
)

Name = Literal[
    "hubert", "hubert-mini", "hubert-base", "hubert-large", "hubert-xlarge", "hubert-fast", "hubert-fast-20ms"
]
"""All names, for type checkers: with one of them, zoo.load gives a HuBERT."""
