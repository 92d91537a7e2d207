"""The speech corpus: grammar sentences, digit strings and keywords, spoken by artificial speakers in five languages.

A speaker's number decides its split. A hash of the text decides the split of a sentence or digit string. Both rules use
nothing else, so splits never overlap, also across seeds and sizes. Keywords are the same words in all splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from random import Random

import numpy as np
from scipy.signal import firwin, lfilter, resample_poly

from zoo.corpora import alignment, espeak, grammar, speakers
from zoo.corpora.clip import CorpusClip, to_int16
from zoo.data.manifest import Phone

SAMPLE_RATE = 16000
PACKAGES = ("espeakng-loader", "numpy", "scipy")
UNIT_SECONDS = 2.5

_GRID = SAMPLE_RATE // 100  # lengths of clips are multiples of 10 ms
_UP, _DOWN = SAMPLE_RATE // 50, espeak.SAMPLE_RATE // 50
_LONGEST_SENTENCE = 160  # characters; so utterances are at most about 20 s
_LANGUAGE_SHARES = (6, 1, 1, 1, 1)  # as in speakers.LANGUAGES
_STYLES, _STYLE_SHARES = ("sentence", "keyword", "digits"), (5, 4, 1)


@dataclass(frozen=True)
class SpeechSize:
    """clips: number in each split; english, other: speakers in each split; keywords: number of different keywords."""

    clips: Mapping[str, int]
    english: Mapping[str, int]
    other: Mapping[str, int]
    keywords: int


def _splits(train: int, dev: int, test: int) -> dict[str, int]:
    return {"train": train, "dev": dev, "test": test}


SIZES = {
    "tiny": SpeechSize(_splits(48, 12, 12), english=_splits(6, 2, 2), other=_splits(2, 1, 1), keywords=5),
    "small": SpeechSize(_splits(1150, 145, 145), english=_splits(48, 8, 8), other=_splits(9, 2, 2), keywords=20),
    "large": SpeechSize(_splits(13000, 900, 900), english=_splits(240, 40, 40), other=_splits(48, 8, 8), keywords=20),
}


def require() -> None:
    """Raises MissingDependencyError if eSpeak NG is not installed."""
    espeak.require()


def counts(size: str) -> Mapping[str, int]:
    """Units of work in each split; a unit is one clip."""
    return SIZES[size].clips


def make(size: str, seed: int, split: str, index: int) -> list[CorpusClip]:
    """Clip `index` of a split: a function of these four arguments."""
    rng = Random(f"speech/{seed}/{split}/{index}")
    plan = SIZES[size]
    style = rng.choices(_STYLES, _STYLE_SHARES)[0]
    language = "en" if style == "keyword" else rng.choices(speakers.LANGUAGES, _LANGUAGE_SHARES)[0]
    speaker = rng.choice(speakers.pool(language, split, (plan.english if language == "en" else plan.other)[split]))
    labels: dict[str, str] = {"gender": speaker.gender, "accent": speaker.voice.accent, "style": style}
    if style == "keyword":
        text = labels["label"] = rng.choice(grammar.load("en").words["keyword"][: plan.keywords])[0]
    else:
        text = _fresh_text(style, language, split, rng)
    utterance = espeak.speak(text, speaker.voice, speaker.deliver(rng))
    wave, phones = _record(utterance, rng)
    return [CorpusClip(f"{index:06d}", wave, SAMPLE_RATE, text, [], speaker.name, language, phones, labels)]


def split_of(text: str) -> str:
    """The split of a sentence: one in ten is dev, one in ten is test."""
    letters = "".join(character for character in text.lower() if character.isalnum())
    return ("dev", "test", *["train"] * 8)[hashlib.sha256(letters.encode()).digest()[0] % 10]


def _fresh_text(style: str, language: str, split: str, rng: Random) -> str:
    """One to three sentences of the split, or one digit string of the split."""
    parts: list[str] = []
    number = 1 if style == "digits" else rng.choice([1, 1, 1, 1, 1, 2, 2, 3])
    while len(parts) < number:
        part = grammar.load(language).expand(style, rng)
        if split_of(part) == split and len(part) <= _LONGEST_SENTENCE:
            parts.append(part)
    return " ".join(parts)


def _record(utterance: espeak.Utterance, rng: Random) -> tuple[np.ndarray, list[Phone]]:
    """A simulated recording (silence around, tilted spectrum, level, noise), and its phones with times in s."""
    ratio = SAMPLE_RATE / espeak.SAMPLE_RATE
    before = rng.randint(5, 30) * _GRID
    speech = resample_poly(utterance.wave / 32768.0, _UP, _DOWN, window=_low_pass())
    total = before + len(speech) + rng.randint(5, 30) * _GRID
    total += -total % _GRID
    wave = np.zeros(total)
    wave[before : before + len(speech)] = lfilter([1.0, rng.uniform(-0.35, 0.35)], [1.0], speech)
    loudness = np.sqrt(np.mean(wave[before : before + len(speech)] ** 2)) + 1e-9
    wave *= min(10 ** (rng.uniform(-32, -18) / 20) / loudness, 0.9 / np.abs(wave).max())

    noise = np.random.default_rng(rng.getrandbits(64)).standard_normal(total)
    noise = lfilter([1.0], [1.0, rng.uniform(-0.9, 0.2)], noise)
    signal_to_noise = rng.uniform(30, 60)  # dB
    wave += noise * (np.sqrt(np.mean(wave**2) / np.mean(noise**2)) * 10 ** (-signal_to_noise / 20))

    end = total / SAMPLE_RATE
    segments = [(before + a * ratio, before + b * ratio, symbol) for a, b, symbol in alignment.segments(utterance)]
    phones = [(round(a / SAMPLE_RATE, 4), round(b / SAMPLE_RATE, 4), symbol) for a, b, symbol in segments]
    if phones[0][2] != alignment.SILENCE:
        phones.insert(0, (0.0, phones[0][0], alignment.SILENCE))
    if phones[-1][2] != alignment.SILENCE:
        phones.append((phones[-1][1], end, alignment.SILENCE))
    phones[0] = (0.0, *phones[0][1:])
    phones[-1] = (phones[-1][0], round(end, 4), alignment.SILENCE)
    return to_int16(wave), phones


@cache
def _low_pass() -> np.ndarray:
    """The anti-aliasing filter, cached: designing it takes longer than applying it."""
    return firwin(20 * _DOWN + 1, 1 / _DOWN, window=("kaiser", 5.0))
