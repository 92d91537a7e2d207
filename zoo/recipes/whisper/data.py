"""Transcribed clips for Whisper: which ones can be used, and batches of spectra with targets.

Legend: B batch, M mel frames, N mels, U tokens, C bytes of text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zoo.data.dataset import Batch, LoadedClip
from zoo.data.loader import DataConfig, Loader
from zoo.data.manifest import Entry
from zoo.data.sampler import BatchSampler
from zoo.errors import ConfigError
from zoo.models.whisper.config import WhisperConfig
from zoo.models.whisper.model import Whisper
from zoo.recipes.shapes import round_up
from zoo.recipes.whisper.config import WhisperAugmentConfig, WhisperTrainConfig
from zoo.recipes.whisper.targets import Writer
from zoo.recipes.whisper.windows import TrainingWindow, WindowDataset

POSITION_SECONDS = 0.02
IGNORED = -100  # what stands in targets where nothing is learned


@dataclass
class SpeechBatch(Batch):
    """A batch with what the model hears and writes.

    mel (B, M, N); positions (B,) of 20 ms that may be attended; tokens (B, U) that go into the decoder, targets (B, U)
    that come out of it, IGNORED at context and padding; letters (B, C): the bytes of the text, of which spelled (B,).
    """

    mel: Tensor = field(default_factory=lambda: torch.empty(0))
    positions: Tensor = field(default_factory=lambda: torch.empty(0))
    tokens: Tensor = field(default_factory=lambda: torch.empty(0))
    targets: Tensor = field(default_factory=lambda: torch.empty(0))
    letters: Tensor = field(default_factory=lambda: torch.empty(0))
    spelled: Tensor = field(default_factory=lambda: torch.empty(0))


class WhisperCollate:
    """Windows -> SpeechBatch, heard as the model hears them when it transcribes."""

    def __init__(self, model: Whisper, writer: Writer, augment: WhisperAugmentConfig) -> None:
        self.model, self.writer, self.augment = model, writer, augment

    def __call__(self, items: Sequence[LoadedClip]) -> SpeechBatch:
        windows = cast(Sequence[TrainingWindow], items)
        model = self.model
        # As Whisper.encode_windows: in context "clip", silence after each window, some of it unattended.
        spoken = torch.tensor([-(-len(window.wave) // model.hop) for window in windows])  # (B,)
        heard = (spoken + model.config.tail).clamp(min=model.config.least)
        tail = round_up(int(heard.max()) + 1, model.device) - int(spoken.max())
        mel = model.log_mel([window.wave for window in windows], tail=tail)  # (B, M, N)
        size = mel.shape[1] // 2
        positions = heard.clamp(max=size) if model.context == "clip" else torch.full_like(heard, size)
        for row, window in zip(mel, windows, strict=True):
            blank(row[: len(window.wave) // model.mel.hop], self.augment, Random(window.seed ^ 2))
        tokens, targets = self.texts(windows)
        letters = [torch.tensor(list(window.text.encode()), dtype=torch.int64) for window in windows]
        return SpeechBatch(
            **vars(Batch.of(windows)),
            mel=mel,
            positions=positions,
            tokens=tokens,
            targets=targets,
            letters=pad_sequence(letters, batch_first=True),
            spelled=torch.tensor([len(row) for row in letters]),
        )

    def texts(self, windows: Sequence[TrainingWindow]) -> tuple[Tensor, Tensor]:
        """tokens, targets (B, U)."""
        tokens, targets = [], []
        for window in windows:
            ids, context = self.writer(window)
            tokens.append(torch.tensor(ids[:-1]))
            targets.append(torch.tensor([IGNORED] * (context - 1) + ids[context:]))
        longest = max(len(row) for row in tokens)
        size = min(round_up(longest, self.model.device), self.model.config.text_ctx)
        return _padded(tokens, self.writer.tokenizer.eot, size), _padded(targets, IGNORED, size)


def _padded(rows: Sequence[Tensor], value: int, size: int) -> Tensor:
    """(U_i,) each -> (B, size)."""
    return torch.stack([F.pad(row, (0, size - len(row)), value=value) for row in rows])


def blank(mel: Tensor, config: WhisperAugmentConfig, draws: Random) -> None:
    """SpecAugment, in place: bands and stretches of a window's mel (M, N) become its mean."""
    frames, mels = mel.shape
    mean = mel.mean()
    for _ in range(config.mel_masks):
        width = draws.randint(0, min(config.mel_width, mels))
        first = draws.randint(0, mels - width)
        mel[:, first : first + width] = mean
    for _ in range(config.time_masks):
        width = draws.randint(0, min(config.time_width, int(config.time_share * frames)))
        first = draws.randint(0, frames - width)
        mel[first : first + width] = mean


def usable(
    entries: Sequence[Entry],
    data: DataConfig,
    clean: Callable[[str], str],
    seconds: float,
    say: Callable[[str], None],
) -> list[Entry]:
    """Entries with their text cleaned; a text that is empty in the data set says that nobody speaks.

    Left out, and said so: clips without text, shorter than data.min_seconds, longer than `seconds`, and those whose
    text is empty once cleaned ("um", "[red]"): somebody may well speak there.
    Raises ConfigError where nothing is left to train on.
    """
    left: Counter[str] = Counter()
    kept: list[Entry] = []
    for entry in entries:
        if entry.text is None:
            left["without text"] += 1
        elif entry.duration < data.min_seconds:
            left["too short"] += 1
        elif entry.duration > seconds:
            left[f"longer than {seconds:g} s"] += 1
        elif not (text := clean(entry.text)) and entry.text.strip():
            left["without words after normalizing"] += 1
        else:
            kept.append(replace(entry, text=text))
    reasons = ", ".join(f"{count} {reason}" for reason, count in left.items())
    if reasons:
        say(f"{data.source}: {len(kept)} of {len(entries)} clips are used; left out: {reasons}")
    if not any(entry.text for entry in kept if entry.split == "train"):
        raise ConfigError(f'{data.source}: no clip of split "train" can be used ({reasons or "there are none"})')
    return kept


def window_seconds(config: WhisperTrainConfig, model: WhisperConfig) -> float:
    """Length of the longest window. Raises ConfigError where the model cannot hear as much."""
    most = model.audio_ctx * POSITION_SECONDS
    if config.windows.seconds is not None and not 0 < config.windows.seconds <= most:
        raise ConfigError(f"windows.seconds {config.windows.seconds:g}: the model hears {most:g} s; give less, or null")
    return config.windows.seconds or most


def fitting(entries: Sequence[Entry], writer: Writer, source: str, say: Callable[[str], None]) -> list[Entry]:
    """Without those whose text has more tokens than a window may have, which is said."""
    kept = [entry for entry in entries if writer.count(entry.text or "") + 2 <= writer.room]
    if len(kept) < len(entries):
        say(f"{source}: {len(entries) - len(kept)} texts of more than {writer.room - 2} tokens are left out")
    return kept


def check_languages(entries: Sequence[Entry], languages: Collection[str], source: str) -> None:
    """Raises ConfigError for the first clip to train on or validate with whose language the model has no token for."""
    for entry in entries if languages else ():
        if entry.text and entry.split != "test" and entry.lang not in languages:
            raise ConfigError(
                f"{source}: {entry.audio} has lang {entry.lang!r}, for which there is no token among "
                f"{', '.join(list(languages)[:8])}{' ...' if len(languages) > 8 else ''}; give every clip its language "
                'in the column `lang`, or choose clips: "data.source=... [lang=en|de]"'
            )


def split_loader(
    config: WhisperTrainConfig, entries: Sequence[Entry], split: str, model: Whisper, known: Sequence[Entry] = ()
) -> Loader:
    """Windows of one split; drawn at random and blanked if it is "train". Raises ConfigError where there are none.

    known: all entries that there are, chosen or not: no window reaches across another's speech.
    """
    training, data = split == "train", config.data
    chosen = [entry for entry in entries if entry.split == split and (training or entry.text)]
    if not chosen:
        raise ConfigError(f"{data.source}: none of {len(entries)} usable clips is in split {split!r}")
    if not training and config.dev_clips:
        chosen = chosen[:: -(-len(chosen) // config.dev_clips)]
    augment = config.augment if training else WhisperAugmentConfig()
    assert model.tokenizer is not None
    writer = Writer(model.tokenizer, model.config.text_ctx, config.vocabulary.dropout if training else 0.0)
    dataset = WindowDataset(
        chosen,
        model.sample_rate,
        config.windows,
        augment,
        seconds=window_seconds(config, model.config),
        count=writer.count,
        tokens=writer.room,
        training=training,
        min_samples=model.min_samples,
        cache_hours=data.cache_hours,
        known=known,
    )
    # In context "full" a window takes the model's whole window, however short it is.
    lengths = dataset.seconds if model.context == "clip" else [model.window_seconds] * len(dataset)
    sampler = BatchSampler(
        lengths, data.batch_seconds, seed=config.train.seed, max_items=data.max_items, shuffle=training
    )
    collate = WhisperCollate(model, writer, augment)
    return Loader(dataset, sampler, collate=collate, workers=data.workers)
