"""Music that a small MuLan learns in seconds: tones of eight pitches, with captions that name them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import soundfile
import torch
from small import SMALL, noise

from zoo.data import manifest
from zoo.data.manifest import Entry
from zoo.models.mulan.model import MulanConfig
from zoo.recipes.mulan.config import EvaluationConfig, MulanTrainConfig, ZeroShot
from zoo.train import TrainConfig

WORDS = ("lowest", "deep", "dark", "middle", "bright", "high", "piercing", "top")
RATE = 16_000
SIZE: dict[str, Any] = {
    **SMALL["mulan"],
    "window_seconds": 0.5,
    "mels": 32,
    "dim": 24,
    "resnet_stem_stride": 2,
    "temperature": 0.4,
}


def tone(word: int, seed: int, seconds: float) -> torch.Tensor:
    """A tone with two overtones in a little noise, (S,)."""
    time = torch.arange(round(seconds * RATE)) / RATE
    pitch = 150 * 1.45**word * (1 + 0.02 * (seed % 3))
    wave = sum(torch.sin(2 * torch.pi * pitch * k * time) / k for k in (1, 2, 3))
    return 0.2 * torch.as_tensor(wave) + 0.02 * noise(seconds, seed)[: len(time)]


def write_tones(folder: Path, train: int = 40, held_out: int = 16) -> Path:
    """A manifest of clips of 0.6 to 0.9 s, each with two captions, a word and its own piece number."""
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    entries = []
    for split, count in (("train", train), ("dev", held_out), ("test", held_out)):
        for i in range(count):
            word, seconds, path = i % len(WORDS), 0.6 + 0.3 * (i * 5 % 7) / 6, folder / "audio" / f"{split}{i}.wav"
            soundfile.write(path, tone(word, i + 100 * len(split), seconds).numpy(), RATE, subtype="FLOAT")
            entries.append(
                Entry(
                    path,
                    soundfile.info(path).duration,
                    split,
                    captions=[f"A {WORDS[word]} tone.", f"one {WORDS[word]} tone sounds"],
                    labels={"word": WORDS[word], "piece": f"{split}{i}"},
                )
            )
    manifest.write(folder / "manifest.jsonl", entries)
    return folder / "manifest.jsonl"


def tones_config(source: Path, out: Path, tower: str = "resnet", **train: Any) -> MulanTrainConfig:
    """A run of a few seconds: two micro-batches of eight pairs in a step."""
    config = MulanTrainConfig(out=str(out), model=MulanConfig(**SIZE, tower=tower, vocab_size=200))
    config.data = replace(
        config.data, sources=str(source), max_items=8, min_seconds=0.3, text={"captions": 2.0, "word": 1.0}
    )
    config.evaluation = EvaluationConfig(
        same="word", zero_shot=[ZeroShot("word", ["{}", "A {} tone."])], probes=["word"]
    )
    settings = {"steps": 6, "batches_per_step": 2, "learning_rate": 3e-3, "log_every": 1, "validate_every": 3}
    config.train = TrainConfig(**settings | {"save_every": 2} | train)
    return config
