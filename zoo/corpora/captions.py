"""Captions: sentences with true facts about a clip."""

from __future__ import annotations

from random import Random

from zoo.corpora import grammar
from zoo.corpora.compose import tempo_word
from zoo.corpora.score import Composition
from zoo.data.manifest import Label

_GROUPS = ("choir", "string ensemble", "brass ensemble")  # several players: never "a solo choir"
_PLURALS = ("steel drums", "pizzicato strings")
_LEVELS = ("full", "short", "coarse", "tags", "short", "coarse")
_NOUNS = {  # a noun for styles with a name that is not a noun
    "rock": "rock tune",
    "swing": "swing tune",
    "blues": "blues",
    "reggae": "reggae tune",
    "electronic dance": "electronic dance track",
    "ambient": "ambient piece",
    "bossa nova": "bossa nova",
}


def labels(piece: Composition) -> dict[str, Label]:
    """The label columns of a piece."""
    lead = piece.lead.instrument
    return {
        "instrument": lead.name,
        "family": lead.family,
        "accompaniment": ", ".join(_others(piece)) or "none",
        "drums": "true" if _drums(piece) else "false",
        "tempo": tempo_word(piece.bpm),
        "bpm": piece.bpm,
        "key": piece.key.name,
        "mode": piece.key.mode,
        "meter": piece.meter.name,
        "style": piece.style,
        "texture": piece.texture,
        "articulation": piece.articulation,
        "form": piece.form,
    }


def captions(piece: Composition, split: str, rng: Random) -> list[str]:
    """Six captions: full, short, coarse, tags, and two more. Some of the wording differs between splits."""
    facts = {key: str(value) for key, value in labels(piece).items()}
    words = grammar.load("captions")
    result: list[str] = []
    for level in _LEVELS:
        slots = {
            "players": _players(piece),
            "lead": facts["instrument"],
            "family": facts["family"],
            "crew": _join_names([piece.lead.instrument.name, *_others(piece), *(["drums"] if _drums(piece) else [])]),
            "style": _NOUNS.get(piece.style, piece.style),
            "key": facts["key"],
            "tonality": f"{piece.key.mode} {'key' if piece.key.mode in ('major', 'minor') else 'mode'}",
            "pace": words.expand(f"pace.{facts['tempo']}", rng).lower(),
            "bpm": facts["bpm"],
            "meter": facts["meter"],
            "drumming": rng.choice([" with a drum beat", ", with drums"]) if _drums(piece) else "",
            "texture": piece.texture,
            "kind": "choral" if facts["family"] == "voice" else "instrumental",
            "touch": words.expand(
                "staccato" if piece.articulation == "staccato" else f"pace.{facts['tempo']}", rng
            ).lower(),
        }
        result.append(words.expand(f"{level}.{split}", rng, **slots))
    return result


def _players(piece: Composition) -> str:
    """The players without drums: "a solo violin", "a violin accompanied by piano and double bass"."""
    name = piece.lead.instrument.name
    others = _others(piece)
    if not others:
        return _with_article(name) if name in _GROUPS + _PLURALS or _drums(piece) else f"a solo {name}"
    return f"{_with_article(name)} accompanied by {_join_names(others)}"


def _with_article(name: str) -> str:
    return name if name in _PLURALS else f"a {name}"


def _others(piece: Composition) -> list[str]:
    """Names of the other instruments, without drums."""
    lead = piece.lead.instrument.name
    names = [part.instrument.name for part in piece.parts if part.role != "drums"]
    return [name for name in dict.fromkeys(names) if name != lead]


def _drums(piece: Composition) -> bool:
    return any(part.role == "drums" for part in piece.parts)


def _join_names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
