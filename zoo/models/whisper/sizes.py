"""The sizes of Whisper that OpenAI published (Radford et al. 2022, arXiv 2212.04356): plain data for the cards."""

from __future__ import annotations

from typing import NamedTuple


class WhisperSize(NamedTuple):
    """One size.

    repository: on the hub, of openai; parameters: millions; layers: of encoder and decoder; dim: width of both.
    heads: alignment heads of each decoder layer, "3: 1 4; 5: 0" (openai/whisper __init__.py).
    third: trained as large-v3, on 128 mels. limits: as in a card.
    """

    name: str
    repository: str
    parameters: float
    layers: tuple[int, int]
    dim: int
    heads: str
    third: bool = False
    limits: tuple[str, ...] = ()


_UNPADDED = {  # benchmarks/results/whisper-contexts-2026-11-23.md and real-2026-11-23.md
    "tiny.en": (
        'Padding "none" is 6.6 times as fast as "30s" and gives other vectors: the mean vectors of a recording have a '
        "median cosine of 0.980; one in twenty is below 0.892.",
        'Probes lose nothing by padding "none": wake words 1.000 accuracy with both, sounds 0.955 (0.912 with "30s").',
    ),
    "base": (
        'Padding "none" is 7.5 times as fast as "30s" and gives other vectors: the mean vectors of a recording have a '
        "median cosine of 0.973; one in twenty is below 0.861.",
    ),
}

PUBLISHED = (
    WhisperSize("tiny", "whisper-tiny", 37.2, layers=(4, 4), dim=384, heads="2: 2; 3: 0 2 3 4 5"),
    WhisperSize(
        "tiny.en",
        "whisper-tiny.en",
        37.2,
        layers=(4, 4),
        dim=384,
        heads="1: 0; 2: 0 5; 3: 0 1 2 3 4",
        limits=_UNPADDED["tiny.en"],
    ),
    WhisperSize(
        "base",
        "whisper-base",
        71.8,
        layers=(6, 6),
        dim=512,
        heads="3: 1; 4: 2 3 7; 5: 1 2 4 6",
        limits=_UNPADDED["base"],
    ),
    WhisperSize("base.en", "whisper-base.en", 71.8, layers=(6, 6), dim=512, heads="3: 3; 4: 7; 5: 1 5 7"),
    WhisperSize(
        "small",
        "whisper-small",
        240.6,
        layers=(12, 12),
        dim=768,
        heads="5: 3 9; 8: 0 4 7 8; 9: 0 7 9; 10: 5",
    ),
    WhisperSize(
        "small.en",
        "whisper-small.en",
        240.6,
        layers=(12, 12),
        dim=768,
        heads="6: 6; 7: 0 3 8; 8: 2 5 7; 9: 0 4 8 10; 10: 0 1 2 3 6 11; 11: 2 4",
    ),
    WhisperSize(
        "medium",
        "whisper-medium",
        762.4,
        layers=(24, 24),
        dim=1024,
        heads="13: 15; 15: 4 15; 16: 1; 20: 0; 23: 4",
    ),
    WhisperSize(
        "medium.en",
        "whisper-medium.en",
        762.4,
        layers=(24, 24),
        dim=1024,
        heads="11: 4; 14: 1 12 14; 15: 4; 16: 0 4 9; 17: 12 14; 18: 7 10 15; 20: 0 3 9 14; 21: 12",
    ),
    WhisperSize(
        "large",
        "whisper-large",
        1541.5,
        layers=(32, 32),
        dim=1280,
        heads="9: 19; 11: 2 4 17; 22: 7 11 17; 23: 2 15",
    ),
    WhisperSize(
        "large-v2",
        "whisper-large-v2",
        1541.5,
        layers=(32, 32),
        dim=1280,
        heads="10: 12; 13: 17; 16: 11 12 13; 17: 15 16; 18: 4 11 19; 19: 11; 21: 2 3; 22: 3 9 12; 23: 5 7 13; 25: 5; "
        "26: 1 12; 27: 15",
    ),
    WhisperSize(
        "large-v3",
        "whisper-large-v3",
        1541.7,
        layers=(32, 32),
        dim=1280,
        heads="7: 0; 10: 17; 12: 18; 13: 12; 16: 1; 17: 14; 19: 11; 21: 4; 24: 1; 25: 6",
        third=True,
    ),
    WhisperSize(
        "turbo",
        "whisper-large-v3-turbo",
        807.0,
        layers=(32, 4),
        dim=1280,
        heads="2: 4 11; 3: 3 6 11 14",
        third=True,
    ),
)
