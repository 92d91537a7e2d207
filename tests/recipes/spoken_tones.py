"""A language of three letters, each a tone: clips and recordings that a tiny Whisper can learn in seconds."""

from __future__ import annotations

import math
from pathlib import Path

import soundfile
import torch
from small import noise

from zoo.data import manifest
from zoo.data.manifest import Entry

RATE = 16_000
PITCHES = {"a": 300.0, "b": 900.0, "c": 2000.0}
WORDS = ("ba", "abba", "cab", "ab cab", "ba ba", "c", "acc", "b ab", "caca", "bb")


def say(text: str, seed: int = 0) -> torch.Tensor:
    """The waveform of a text (S,): for each letter 120 ms of its pitch (silence between words) and 40 ms of silence."""
    parts = []
    for letter in f" {text} ":
        time = torch.arange(1920) / RATE
        parts.append(0.3 * torch.sin(2 * math.pi * PITCHES.get(letter, 0.0) * time))
        parts.append(torch.zeros(640))
    wave = torch.cat(parts)
    return wave + 0.005 * noise(len(wave) / RATE, seed=seed)[: len(wave)]


def write_clips(folder: Path, lang: str = "en") -> Path:
    """A manifest of ten training clips, and clips of the same words with other noise in the other splits."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for split in ("train", "dev", "test"):
        for i, text in enumerate(WORDS if split == "train" else WORDS[:4]):
            path = folder / f"{split}-{i}.wav"
            wave = say(text, seed=len(entries))
            soundfile.write(path, wave.numpy(), RATE)
            seconds = len(wave) / RATE
            entries.append(Entry(path, seconds, split, text=text.capitalize(), speaker=f"{split}{i}", lang=lang))
    manifest.write(folder / "manifest.jsonl", entries)
    return folder / "manifest.jsonl"


def write_recording(folder: Path) -> list[Entry]:
    """One long file. The entries are spans of it, with pauses of half a second between them."""
    folder.mkdir(parents=True, exist_ok=True)
    path, waves, entries, position = folder / "long.wav", [], [], 0
    for i, text in enumerate(WORDS):
        wave = say(text, seed=i)
        start, end = position / RATE, (position + len(wave)) / RATE
        entries.append(Entry(path, end - start, "train", start=start, end=end, text=text, lang="en"))
        waves += [wave, torch.zeros(RATE // 2)]
        position += len(wave) + RATE // 2
    soundfile.write(path, torch.cat(waves).numpy(), RATE)
    return entries
