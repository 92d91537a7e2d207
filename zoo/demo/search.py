"""Music by text: the clips nearest to a few queries by MuLan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.demo.clips import DemoClip

QUERIES: Mapping[str, Mapping[str, str]] = {
    "a waltz with trumpet": {"style": "waltz", "instrument": "trumpet"},
    "a slow lullaby for harp": {"tempo": "slow", "style": "lullaby", "instrument": "harp"},
    "blues with electric guitar and drums": {"style": "blues", "instrument": "electric guitar", "drums": "true"},
    "fast violin music": {"tempo": "fast", "instrument": "violin"},
}
"""Each query with the labels of a clip that fits it."""
HITS = 3


@dataclass(frozen=True)
class SearchHit:
    """score: cosine of text and clip. facts: each fact of the query, and whether it is true of the clip."""

    clip: DemoClip
    score: float
    facts: list[tuple[str, bool]]


@dataclass(frozen=True)
class SearchAnswer:
    query: str
    hits: list[SearchHit]


def search(clips: Sequence[DemoClip], mulan: Any) -> list[SearchAnswer]:
    """The nearest clips of each query, one of a piece."""
    scores = mulan.similarity([clip.entry.audio for clip in clips], list(QUERIES))  # (N, queries)
    answers = []
    for number, (query, labels) in enumerate(QUERIES.items()):
        answers.append(SearchAnswer(query, _hits(clips, scores[:, number].tolist(), labels)))
    return answers


def _hits(clips: Sequence[DemoClip], scores: Sequence[float], labels: Mapping[str, str]) -> list[SearchHit]:
    best: dict[str, SearchHit] = {}
    for place in sorted(range(len(clips)), key=lambda place: -scores[place]):
        clip = clips[place]
        best.setdefault(clip.group, SearchHit(clip, scores[place], _facts(clip, labels)))
    return list(best.values())[:HITS]


def _facts(clip: DemoClip, labels: Mapping[str, str]) -> list[tuple[str, bool]]:
    facts = []
    for column, value in labels.items():
        name = "drums" if column == "drums" else value
        facts.append((name, value in clip.label(column)))  # a muted trumpet is a trumpet
    return facts
