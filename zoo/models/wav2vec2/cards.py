"""Model cards of wav2vec 2.0, XLS-R, UniSpeech and UniSpeech-SAT.

They differ from HuBERT in their pre-training only: the encoder is HuBERT's, so their family is "hubert".
"""

from __future__ import annotations

from typing import Any, Literal

from zoo.cards import ModelCard
from zoo.models.hubert.cards import LARGE

ENCODER = "zoo.models.hubert.model:HuBERT"

_WAV2VEC2 = "https://arxiv.org/abs/2006.11477"
_XLS_R = "https://arxiv.org/abs/2111.09296"
_UNISPEECH = "https://arxiv.org/abs/2101.07597"
_UNISPEECH_SAT = "https://arxiv.org/abs/2110.05752"

_POST_NORM_LARGE: dict[str, Any] = {"layers": 24, "dim": 1024, "heads": 16, "ffn_dim": 4096}
_ENGLISH = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")
_LIBRISPEECH = "LibriSpeech, 960 h of English read speech"
_LIBRI_LIGHT = "Libri-Light, 53,000 h of English read speech"
_128_LANGUAGES = (
    "436,000 h of speech in 128 languages: VoxPopuli, Multilingual LibriSpeech, Common Voice, VoxLingua107 and BABEL"
)
_94_000_H = "Libri-Light, 60,000 h; GigaSpeech, 10,000 h; VoxPopuli, 24,000 h of English speech"
_READ_ONLY = ("It was trained on read English only.",)
_CC_BY_SA = "CC-BY-SA-3.0"  # the license of github.com/microsoft/UniSpeech, to which the cards on the hub point


def _wav2vec2(name: str, summary: str, data: str, parameters: float, **fields: Any) -> ModelCard:
    """A card of Meta's; its repository has the name of the card."""
    settings: dict[str, Any] = {"source": f"hf:facebook/{name}", "license": "Apache-2.0", "paper": _WAV2VEC2}
    return ModelCard(name, "hubert", summary, training_data=data, parameters=parameters, **(settings | fields))


def _unispeech(name: str, summary: str, data: str, parameters: float, **fields: Any) -> ModelCard:
    """A card of Microsoft's; its repository has the name of the card."""
    settings: dict[str, Any] = {"source": f"hf:microsoft/{name}", "license": _CC_BY_SA, "paper": _UNISPEECH_SAT}
    return ModelCard(name, "hubert", summary, training_data=data, parameters=parameters, **(settings | fields))


CARDS = (
    _wav2vec2("wav2vec2-base", "wav2vec 2.0 Base, 20 ms frames", _LIBRISPEECH, 94.4, limits=_READ_ONLY),
    _wav2vec2(
        "wav2vec2-large",
        "wav2vec 2.0 Large, 20 ms frames",
        _LIBRISPEECH,
        315.4,
        config=_POST_NORM_LARGE,
        limits=_READ_ONLY,
    ),
    _wav2vec2(
        "wav2vec2-large-lv60",
        "wav2vec 2.0 Large, 20 ms frames",
        _LIBRI_LIGHT,
        315.4,
        config=LARGE,
        limits=_READ_ONLY,
    ),
    _wav2vec2(
        "wav2vec2-base-960h",
        "wav2vec 2.0 Base with CTC: English transcription in capital letters",
        f"{_LIBRISPEECH}, with its transcripts",
        94.4,
        config={"vocabulary": _ENGLISH},
        scores=("LibriSpeech, no language model: 3.4 % / 8.6 % WER test-clean / other (card on the hub)",),
        limits=("It writes capital letters, without punctuation and numerals.",),
    ),
    _wav2vec2(
        "wav2vec2-large-960h-lv60-self",
        "wav2vec 2.0 Large with CTC and self-training: English transcription in capital letters",
        f"{_LIBRI_LIGHT}, pseudo-labeled; LibriSpeech, 960 h, with its transcripts",
        315.5,
        config=LARGE | {"vocabulary": _ENGLISH},
        paper="https://arxiv.org/abs/2010.11430",
        scores=("LibriSpeech, no language model: 1.9 % / 3.9 % WER test-clean / other (card on the hub)",),
        limits=("It writes capital letters, without punctuation and numerals.",),
    ),
    _wav2vec2(
        "wav2vec2-large-xlsr-53",
        "XLSR-53: wav2vec 2.0 Large for 53 languages",
        "56,000 h of speech in 53 languages: Multilingual LibriSpeech, Common Voice and BABEL",
        315.4,
        config=LARGE,
        paper="https://arxiv.org/abs/2006.13979",
    ),
    _wav2vec2(
        "wav2vec2-xls-r-300m",
        "XLS-R: wav2vec 2.0 for 128 languages",
        _128_LANGUAGES,
        315.4,
        config=LARGE,
        paper=_XLS_R,
    ),
    _wav2vec2(
        "wav2vec2-xls-r-1b",
        "XLS-R with a billion parameters: wav2vec 2.0 for 128 languages",
        _128_LANGUAGES,
        962.5,
        config=LARGE | {"layers": 48, "dim": 1280, "ffn_dim": 5120},
        paper=_XLS_R,
    ),
    _wav2vec2(
        "wav2vec2-xls-r-2b",
        "XLS-R with two billion parameters: wav2vec 2.0 for 128 languages",
        _128_LANGUAGES,
        2159.3,
        config=LARGE | {"layers": 48, "dim": 1920, "ffn_dim": 7680},
        paper=_XLS_R,
    ),
    _unispeech(
        "unispeech-large-1500h-cv",
        "UniSpeech Large: wav2vec 2.0 with phone labels in pre-training",
        "Common Voice, 1,350 h of labeled English speech",
        315.4,
        config=LARGE,
        paper=_UNISPEECH,
    ),
    _unispeech("unispeech-sat-base", "UniSpeech-SAT Base: HuBERT with speaker-aware pre-training", _LIBRISPEECH, 94.4),
    _unispeech(
        "unispeech-sat-base-plus", "UniSpeech-SAT Base on more data: HuBERT with speaker awareness", _94_000_H, 94.4
    ),
    _unispeech(
        "unispeech-sat-large",
        "UniSpeech-SAT Large: HuBERT with speaker-aware pre-training",
        _94_000_H,
        315.4,
        config=LARGE | {"conv_bias": False},
    ),
)

Name = Literal[
    "wav2vec2-base",
    "wav2vec2-large",
    "wav2vec2-large-lv60",
    "wav2vec2-base-960h",
    "wav2vec2-large-960h-lv60-self",
    "wav2vec2-large-xlsr-53",
    "wav2vec2-xls-r-300m",
    "wav2vec2-xls-r-1b",
    "wav2vec2-xls-r-2b",
    "unispeech-large-1500h-cv",
    "unispeech-sat-base",
    "unispeech-sat-base-plus",
    "unispeech-sat-large",
]
"""All names, for type checkers: with one of them, zoo.load gives a HuBERT."""
