"""Model cards of CLAP."""

from __future__ import annotations

from typing import Any

from zoo.cards import ModelCard

ENCODER = "zoo.models.clap.model:Clap"
_PAPER = "https://arxiv.org/abs/2211.06687"
_LICENSE = "Apache-2.0"
_LARGER: dict[str, Any] = {"audio_dim": 128, "audio_depths": (2, 2, 12, 2)}
_LAION = "LAION-Audio-630K (633,526 pairs, 4,325 h: Freesound, BBC and commercial sound effects)"
_SOUNDS = f"{_LAION}, AudioSet, AudioCaps and Clotho, by the paper; the hub does not state the mixture"
_SHORT = "Windows of 10 s are embedded one by one; order and form of longer clips are not heard."
_ENGLISH = "Texts are English."

CARDS = (
    ModelCard(
        "clap-htsat-unfused",
        "clap",
        "CLAP with HTS-AT tiny and RoBERTa-base, windows of 10 s",
        source="hf:laion/clap-htsat-unfused",
        license=_LICENSE,
        training_data=_SOUNDS,
        parameters=153.5,
        paper=_PAPER,
        limits=(_SHORT, _ENGLISH),
    ),
    ModelCard(
        "clap-htsat-fused",
        "clap",
        "CLAP with HTS-AT tiny and RoBERTa-base, windows of 30 s seen whole and in three crops",
        config={"fused": True},
        source="hf:laion/clap-htsat-fused",
        license=_LICENSE,
        training_data=_SOUNDS,
        parameters=153.5,
        paper=_PAPER,
        limits=(_ENGLISH,),
    ),
    ModelCard(
        "clap-larger-music",
        "clap",
        "CLAP with HTS-AT base and RoBERTa-base, trained on music",
        config=_LARGER,
        source="hf:laion/larger_clap_music",
        license=_LICENSE,
        training_data=f"music, AudioSet, {_LAION}; the music is not named",
        parameters=193.9,
        paper=_PAPER,
        scores=("zero-shot ESC-50 accuracy 0.901, GTZAN 0.64 (README of LAION-AI/CLAP)",),
        limits=(_SHORT, _ENGLISH),
    ),
    ModelCard(
        "clap-larger-general",
        "clap",
        "CLAP with HTS-AT base and RoBERTa-base, trained on sounds, music and speech",
        config=_LARGER,
        source="hf:laion/larger_clap_general",
        license=_LICENSE,
        training_data=f"music, speech, AudioSet, {_LAION}; music and speech are not named",
        parameters=193.9,
        paper=_PAPER,
        scores=("zero-shot ESC-50 accuracy 0.900, GTZAN 0.73 (README of LAION-AI/CLAP)",),
        limits=(_SHORT, _ENGLISH),
    ),
)
