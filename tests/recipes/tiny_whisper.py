"""A Whisper of one block that learns tones, batches for it, and a run that trains it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from spoken_tones import WORDS, say

from zoo.data.loader import DataConfig
from zoo.data.manifest import Entry
from zoo.models.whisper.config import WhisperConfig
from zoo.models.whisper.model import Whisper
from zoo.recipes.whisper.config import (
    VocabularyConfig,
    WhisperAugmentConfig,
    WhisperTrainConfig,
    WhisperTuneConfig,
    WindowConfig,
)
from zoo.recipes.whisper.data import SpeechBatch, WhisperCollate
from zoo.recipes.whisper.model import initialize
from zoo.recipes.whisper.targets import TargetEncoder
from zoo.recipes.whisper.vocabulary import train_tokenizer
from zoo.recipes.whisper.windows import TimedText, TrainingWindow
from zoo.train import Schedule, TrainConfig

WORDS_ALONE = WindowConfig(packed=0.0, timestamps=0.0, previous=0.0, no_speech=0.0)


SIZES = WhisperConfig(
    audio_ctx=150,
    dim=64,
    heads=2,
    decoder_heads=2,
    encoder_layers=1,
    decoder_layers=1,
    text_ctx=64,
    padding="none",
    pad_positions=10,
    min_positions=20,
)


def fresh(**options: Any) -> Whisper:
    words = train_tokenizer([word.capitalize() for word in WORDS], 270, ["en"])
    torch.manual_seed(0)
    model = Whisper(replace(SIZES, vocab_size=len(words), **options))
    initialize(model)
    model.tokenizer = words
    return model


def batch_for(model: Whisper, windows: int = 3, previous: str = "C acc") -> SpeechBatch:
    """Windows of different lengths, the second with times and a context."""
    assert model.tokenizer is not None
    made = []
    for i, word in enumerate(WORDS[:windows]):
        wave = say(word, seed=i)
        entry = Entry(Path(f"{i}.wav"), len(wave) / 16_000, "train", text=word, lang="en")
        segments = [TimedText(word, 0.0, entry.duration)]
        made.append(TrainingWindow(wave, i, entry, 0, i, segments, previous if i == 1 else "", i == 1))
    return WhisperCollate(model, TargetEncoder(model.tokenizer, model.config.text_ctx), WhisperAugmentConfig())(made)


def settings(source: Path, out: Path, **train: Any) -> WhisperTrainConfig:
    """A run of some seconds, after which the model transcribes tones without an error."""
    options = {
        "steps": 120,
        "learning_rate": 3e-3,
        "schedule": Schedule.linear,
        "warmup": 0.1,
        "log_every": 20,
        "validate_every": 60,
        "save_every": 60,
    }
    return WhisperTrainConfig(
        out=str(out),
        name="tones",
        data=DataConfig(str(source), batch_seconds=20.0, min_seconds=0.1),
        windows=WORDS_ALONE,
        vocabulary=VocabularyConfig(size=270),
        tune=WhisperTuneConfig(ctc=0.3),
        model=SIZES,
        train=TrainConfig(**options | train),
    )
