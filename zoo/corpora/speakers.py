"""Artificial speakers: parameters of vocal tract, voice source and speaking style, as eSpeak voice variants.

A speaker and its split depend only on language and number, not on the seed of a corpus. So a speaker is always in the
same split, also in corpora of another seed or size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import count, islice
from random import Random

from zoo.corpora.espeak import Delivery, Voice

LANGUAGES = ("en", "de", "fr", "es", "it")

_ACCENTS = {
    "en": ["en-us"] * 5 + ["en"] * 3 + ["en-gb-x-rp"] * 2 + ["en-gb-scotland", "en-us-nyc", "en-029", "en-gb-x-gbclan"],
    "de": ["de"],
    "fr": ["fr"] * 3 + ["fr-be", "fr-ch"],
    "es": ["es", "es", "es-419"],
    "it": ["it"],
}


@dataclass(frozen=True)
class Speaker:
    """rate, pitch_range: means; single utterances vary around them (see `espeak.Delivery`)."""

    name: str
    gender: str
    voice: Voice
    rate: int
    pitch_range: int

    def deliver(self, rng: Random) -> Delivery:
        """A random speaking style of this speaker, for one utterance."""
        return Delivery(
            rate=round(self.rate * rng.uniform(0.88, 1.14)),
            pitch=round(rng.gauss(50, 5)),
            pitch_range=max(10, round(self.pitch_range * rng.uniform(0.8, 1.25))),
            word_gap=rng.choice([0, 0, 0, 0, 1, 2]),
        )


def pool(language: str, split: str, size: int) -> list[Speaker]:
    """The first `size` speakers of a language in a split. Of every eight speakers, six are train, one dev, one test."""
    numbers = (number for number in count() if split == ("train", "dev", "test")[max(0, number % 8 - 5)])
    return [speaker(language, number) for number in islice(numbers, size)]


@cache
def speaker(language: str, number: int) -> Speaker:
    """Speaker `number` of a language."""
    rng = Random(f"speaker/{language}/{number}")
    gender = rng.choice(["female", "male"])
    accent = rng.choice(_ACCENTS[language])
    name = f"{language}{number:03d}"
    voice = Voice(accent, name, _timbre(name, gender, rng))
    return Speaker(name, gender, voice, rate=round(rng.uniform(130, 210)), pitch_range=round(rng.uniform(30, 75)))


def _timbre(name: str, gender: str, rng: Random) -> str:
    """A voice variant: formants scaled by the length of the vocal tract, pitch in Hz, and timbre of the source."""
    female = gender == "female"
    tract = rng.uniform(1.06, 1.22) if female else rng.uniform(0.90, 1.06)
    low = rng.uniform(135, 215) if female else rng.uniform(68, 125)
    lines = [
        "language variant",
        f"name {name}",
        f"gender {gender}",
        f"pitch {low:.0f} {low * rng.uniform(1.25, 1.7):.0f}",
        f"flutter {rng.randint(0, 12)}",
        f"roughness {rng.randint(0, 5)}",
        f"voicing {rng.randint(75, 125)}",
        f"consonants {rng.randint(70, 130)} {rng.randint(70, 130)}",
        f"tone 600 {rng.randint(130, 210)} 1200 {rng.randint(90, 180)} 2000 {rng.randint(70, 160)}",
        f"stressAdd {' '.join(str(rng.randint(-15, 25)) for _ in range(8))}",
    ]
    for formant in range(9):
        frequency = 100 * tract * rng.uniform(0.965, 1.035)
        lines.append(f"formant {formant} {frequency:.0f} {rng.randint(80, 120)} {rng.randint(80, 140)}")
    if rng.random() < 0.3:
        lines.append(f"breath 0 {' '.join(str(rng.randint(2, 10)) for _ in range(7))}")
    if rng.random() < 0.15:
        lines.append(f"klatt {rng.choice([3, 4, 5, 6])}")  # another synthesizer, with a model of the glottal pulse
    return "\n".join(lines) + "\n"
