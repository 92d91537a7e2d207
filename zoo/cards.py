"""The table of models that zoo knows: one card each. Plain data; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.whisper_sizes import PUBLISHED, Size

PACKAGED = "package"
SHORT_NAMES = {"hubert": "hubert-mini", "mulan": "mulan-mini", "whisper": "whisper-mini"}
"""What a family's name alone stands for."""


@dataclass(frozen=True)
class ModelCard:
    """What there is to know of a model before it is loaded.

    name: what `zoo.load` and `zoo.create` take; family: key of FAMILIES.
    config: where it differs from the family's defaults.
    source: "hf:owner/name" where weights are published, PACKAGED where they come with zoo (zoo/assets/NAME), None where
        `zoo.create` or a recipe must make them.
    parameters: millions. scores: published results, "task: figure (where it is printed)".
    assets: folder under zoo/assets with what an untrained one needs beside fresh weights, such as a vocabulary.
    recipe: the command that trains it, where there is one.
    limits: what it cannot do, or was never tried on, one sentence each.
    """

    name: str
    family: str
    summary: str
    config: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    licence: str = "MIT"
    training_data: str = "none"
    parameters: float = 0.0
    paper: str = ""
    scores: tuple[str, ...] = ()
    assets: str = ""
    recipe: str = ""
    limits: tuple[str, ...] = ()

    @property
    def has_weights(self) -> bool:
        """Whether there is anything to load: published weights, or nothing to learn in the first place."""
        return self.source is not None or self.parameters == 0


FAMILIES: dict[str, str] = {
    "hubert": "zoo.models.hubert:HuBERT",
    "mulan": "zoo.models.mulan:MuLan",
    "spectral": "zoo.models.spectral:Spectral",
    "whisper": "zoo.models.whisper:Whisper",
}
"""Family name -> "module:class". A checkpoint names its family, never a class, so loading one cannot import at will."""

_HUBERT_PAPER = "https://arxiv.org/abs/2106.07447"
_MULAN_PAPER = "https://arxiv.org/abs/2208.12415"
_LARGE: dict[str, Any] = {
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
_MULAN_MINI: dict[str, Any] = {
    "window_seconds": 3.0,
    "temperature": 0.4,
    "resnet_width": 32,
    "resnet_blocks": (1, 1, 1, 1),
    "resnet_stem_stride": 4,
    "audio_dim": 128,
    "audio_layers": 4,
    "audio_heads": 4,
    "audio_ffn_dim": 512,
    "patch_stride": 16,
    "vocab_size": 564,
    "text_dim": 128,
    "text_layers": 2,
    "text_heads": 4,
    "text_ffn_dim": 512,
    "text_positions": 64,
    "text_length": 64,
}
_HUBERT_MINI: dict[str, Any] = {
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
_WHISPER_MINI: dict[str, Any] = {
    "audio_ctx": 400,
    "dim": 192,
    "heads": 4,
    "decoder_heads": 4,
    "encoder_layers": 4,
    "decoder_layers": 2,
    "text_ctx": 192,
    "vocab_size": 1_841,
    "context": "clip",
    "tail": 25,
    "least": 50,
}
_WHISPER_DATA = {
    False: "680,000 h of speech from the web in 97 languages, weakly labelled",
    True: "5,000,000 h of speech from the web, 1,000,000 of them weakly labelled, the others labelled by large-v2",
}


def _whisper(published: Size) -> ModelCard:
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
        training_data=_WHISPER_DATA[third],
        limits=published.limits,
        parameters=published.parameters,
        paper="https://arxiv.org/abs/2212.04356",
    )


CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        "hubert-mini",
        "hubert",
        "HuBERT on log-mel, 20 ms frames, with 100 units (learned from 500)",
        config=_HUBERT_MINI,
        source=PACKAGED,
        training_data="11 hours of generated speech in five languages (eSpeak NG), 50 minutes of natural synthetic "
        "English (Kokoro-82M's voices and blends of them, Apache-2.0) and 3 hours of recordings: AN4 "
        "(BSD-like), FSDD (CC BY-SA 4.0), Asterisk's prompts (CC BY-SA 3.0, CC BY 3.0), Picovoice's wake words "
        "(Apache-2.0), cuts of LibriSpeech and others (CC BY 4.0); no labels. Targets are 500 units of layer 3 of "
        "Whisper tiny.en (MIT)",
        limits=(
            "Semi-supervised: its targets are of a Whisper, which learned from transcripts. What units of MFCC alone "
            "give is told in recipes/hubert and in the results of the real suite.",
            "What is said is in its upper layers; who says it is in layer 0, about as well as in log-mel statistics.",
            "Three hours of real speech are few: most of them English, of one word or a short phrase.",
            "Its 100 units were measured against the phones of generated speech; real speech had no alignments here.",
        ),
        parameters=4.0,
        paper=_HUBERT_PAPER,
        scores=(
            "phones, generated, unseen voices: 0.81 accuracy (MFCC 0.65, untrained 0.62)",
            "digits, real, unseen speakers (FSDD): 0.94 accuracy (MFCC 0.76, untrained 0.78)",
            "wake words, real: 0.99 accuracy (MFCC 0.87, untrained 0.98)",
        ),
        recipe="python -m zoo.recipes.hubert.train --config recipes/hubert/natural.yaml",
    ),
    ModelCard(
        "hubert-base",
        "hubert",
        "HuBERT Base, 20 ms frames, trained on LibriSpeech",
        source="hf:facebook/hubert-base-ls960",
        licence="Apache-2.0",
        training_data="LibriSpeech, 960 h of English read speech",
        parameters=94.4,
        paper=_HUBERT_PAPER,
        scores=("SUPERB phone recognition: 5.41 % PER", "SUPERB speech recognition: 6.42 % WER"),
    ),
    ModelCard(
        "hubert-large",
        "hubert",
        "HuBERT Large, 20 ms frames, trained on Libri-Light",
        config=_LARGE,
        source="hf:facebook/hubert-large-ll60k",
        licence="Apache-2.0",
        training_data="Libri-Light, 60,000 h of English read speech",
        parameters=315.4,
        paper=_HUBERT_PAPER,
        scores=("LibriSpeech, 960 h labels, Transformer LM: 1.9 % / 3.3 % WER test-clean / other",),
    ),
    ModelCard(
        "hubert-xlarge",
        "hubert",
        "HuBERT X-Large, 20 ms frames, trained on Libri-Light",
        config=_LARGE | {"layers": 48, "dim": 1280, "ffn_dim": 5120},
        source="hf:facebook/hubert-xlarge-ll60k",
        licence="Apache-2.0",
        training_data="Libri-Light, 60,000 h of English read speech",
        parameters=962.5,
        paper=_HUBERT_PAPER,
        scores=("LibriSpeech, 960 h labels, Transformer LM: 1.8 % / 2.9 % WER test-clean / other",),
    ),
    ModelCard(
        "hubert-fast",
        "hubert",
        "HuBERT Base on log-mel, 40 ms frames, cheap to train",
        config=_FAST,
        parameters=91.7,
        paper="https://arxiv.org/abs/2309.13860",
    ),
    ModelCard(
        "hubert-fast-20ms",
        "hubert",
        "HuBERT Base on log-mel, 20 ms frames, cheap to train",
        config=_FAST | {"frame_ms": 20},
        parameters=91.7,
        paper="https://arxiv.org/abs/2309.13860",
    ),
    ModelCard(
        "mulan-resnet50",
        "mulan",
        "MuLan with a ResNet-50 on 64 mels and BERT-base",
        parameters=132.8,
        paper=_MULAN_PAPER,
        recipe="python -m zoo.recipes.mulan.train --config recipes/mulan/resnet50.yaml",
    ),
    ModelCard(
        "mulan-ast",
        "mulan",
        "MuLan with an AST on 128 mels and BERT-base",
        config={"tower": "ast", "mels": 128},
        parameters=195.3,
        paper=_MULAN_PAPER,
        recipe="python -m zoo.recipes.mulan.train --config recipes/mulan/ast.yaml",
    ),
    ModelCard(
        "mulan-mini",
        "mulan",
        "MuLan with a ResNet and a BERT small enough to train on two cores",
        config=_MULAN_MINI,
        source=PACKAGED,
        training_data="ten hours of music composed by rule (TimGM6mb soundfont), and an hour of renderings of "
        "public-domain scores (FluidR3 soundfont), with captions that state facts",
        limits=(
            "It tells instruments, their families and styles apart, tempo a little; meter no better than a regression "
            "on log-mel statistics does. It knows nothing of moods, voices or artists.",
            "Its 564 word pieces are those of its captions, in English.",
            "It has heard synthesisers alone, two of them; a recording of real instruments is something else.",
        ),
        parameters=2.6,
        paper=_MULAN_PAPER,
        scores=(
            "text to music among 365 clips, generated and rendered, of unseen pieces: R@1 0.59, R@10 0.90 (ridge on "
            "log-mel 0.10 and 0.48, chance 0.01 and 0.06)",
        ),
        assets="mulan-mini",
        recipe="python -m zoo.recipes.mulan.train --config recipes/mulan/real.yaml init=RUN/best",
    ),
    ModelCard(
        "mulan-mini-ast",
        "mulan",
        "MuLan with an AST and a BERT small enough to train on two cores",
        config=_MULAN_MINI | {"tower": "ast"},
        parameters=1.3,
        paper=_MULAN_PAPER,
        assets="mulan-mini",
        recipe="python -m zoo.recipes.mulan.train model.tower=ast",
    ),
    ModelCard(
        "mfcc",
        "spectral",
        "13 MFCC and two orders of differences, 10 ms frames",
        config={"kind": "mfcc", "bands": 13},
    ),
    ModelCard(
        "logmel",
        "spectral",
        "80 log-mel bands, 10 ms frames",
    ),
    ModelCard(
        "whisper-mini",
        "whisper",
        "Whisper small enough to learn English keywords and digits on two cores, windows of 8 s",
        config=_WHISPER_MINI,
        source=PACKAGED,
        training_data="twenty English keywords, and strings of digits: 88 minutes of generated speech (eSpeak NG), 37 "
        "minutes of natural synthetic speech (Kokoro-82M's voices and blends of them, Apache-2.0), and 1,200 digits of "
        "three speakers (FSDD, CC BY-SA 4.0)",
        limits=(
            "It writes twenty keywords and digits, in English, and takes whatever else it hears for these.",
            "Of real voices it has heard three; of single digits of others it mistakes one in five.",
            "It hears 8 s at a time, and when its words were said was never measured.",
        ),
        parameters=3.5,
        paper="https://arxiv.org/abs/2212.04356",
        scores=(
            "20 keywords, generated, unseen voices: no error in 379; it knows no words but these and the digits",
            "unseen strings of digits, generated, unseen voices: 1.2 % WER",
            "digits, real, three known speakers: 0.7 % WER; three unknown speakers: 18.5 %",
        ),
        recipe="python -m zoo.recipes.whisper.train --config recipes/whisper/natural.yaml",
    ),
    *(_whisper(size) for size in PUBLISHED),
)
