"""Recordings of the Whisper benchmarks, under ZOO_DATA; all waveforms are 16 kHz, mono, float32."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo import audio

DATA = Path(os.environ.get("ZOO_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
RATE = 16_000
PAUSES = (0.3, 1.5)  # seconds between the utterances of a long recording


@dataclass(frozen=True)
class Utterance:
    """wave (S,) in which `speaker` says `text`."""

    wave: np.ndarray
    text: str
    speaker: str

    @property
    def seconds(self) -> float:
        return len(self.wave) / RATE


@dataclass(frozen=True)
class Placed:
    """An utterance in a longer recording; start in seconds."""

    utterance: Utterance
    start: float


def utterances(name: str, *, splits: tuple[str, ...] = ("train", "dev", "test"), **fields: str) -> list[Utterance]:
    """Utterances of a data set with these values in its manifest."""
    lines = (DATA / name / "manifest.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    chosen = [r for r in rows if r["split"] in splits and all(r.get(key) == value for key, value in fields.items())]
    return [
        Utterance(audio.load(DATA / name / row["audio"], RATE)[:].numpy(), row["text"], row["speaker"])
        for row in chosen
    ]


def long_recording(minutes: float, seed: int = 0) -> tuple[np.ndarray, list[Placed]]:
    """Utterances of `read` and English `prompts` in random order with silence between; the seed fixes it."""
    random = np.random.default_rng(seed)
    pool = utterances("read") + utterances("prompts", lang="en")
    parts: list[np.ndarray] = []
    placed: list[Placed] = []
    length = 0
    for i in random.permutation(len(pool)):
        utterance = pool[i]
        pause = np.zeros(int(random.uniform(*PAUSES) * RATE), np.float32)
        if length + len(utterance.wave) > minutes * 60 * RATE:
            break
        placed.append(Placed(utterance, length / RATE))
        parts += [utterance.wave, pause]
        length += len(utterance.wave) + len(pause)
    return np.concatenate(parts), placed
