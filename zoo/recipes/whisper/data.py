"""Transcribed clips for Whisper: selection of usable clips, and batches of spectra with targets.

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
from zoo.data.sources import text_of
from zoo.errors import ConfigError
from zoo.models.whisper.config import WhisperConfig
from zoo.models.whisper.model import Whisper
from zoo.recipes.shapes import round_up
from zoo.recipes.whisper.config import WhisperAugmentConfig, WhisperTrainConfig
from zoo.recipes.whisper.targets import TargetEncoder
from zoo.recipes.whisper.windows import TrainingWindow, WindowDataset

POSITION_SECONDS = 0.02
IGNORED = -100  # target without a loss


@dataclass
class SpeechBatch(Batch):
    """A batch with inputs and targets of the model.

    mel (B, M, N); positions (B,): of 20 ms that the decoder attends to; tokens (B, U): inputs of the decoder;
    targets (B, U): its outputs, IGNORED at context and padding; ctc_targets (B, C): bytes of the text;
    ctc_lengths (B,): their number.
    """

    on_device = ("mel", "tokens")

    mel: Tensor = field(default_factory=lambda: torch.empty(0))
    positions: Tensor = field(default_factory=lambda: torch.empty(0))
    tokens: Tensor = field(default_factory=lambda: torch.empty(0))
    targets: Tensor = field(default_factory=lambda: torch.empty(0))
    ctc_targets: Tensor = field(default_factory=lambda: torch.empty(0))
    ctc_lengths: Tensor = field(default_factory=lambda: torch.empty(0))


class WhisperCollate:
    """Windows -> SpeechBatch. The encoder receives them as in transcription."""

    def __init__(self, model: Whisper, target_encoder: TargetEncoder, augment: WhisperAugmentConfig) -> None:
        self.model, self.target_encoder, self.augment = model, target_encoder, augment

    def __call__(self, items: Sequence[LoadedClip]) -> SpeechBatch:
        windows = cast(Sequence[TrainingWindow], items)
        model = self.model
        # As Whisper.encode_windows: with padding "none", silence follows each window; some of it is not attended.
        counts = torch.tensor([-(-len(window.wave) // model.hop) for window in windows])  # (B,)
        attended = (counts + model.config.pad_positions).clamp(min=model.config.min_positions)
        pad_positions = round_up(int(attended.max()) + 1, model.device) - int(counts.max())
        mel = model.log_mel([window.wave for window in windows], pad_positions=pad_positions)  # (B, M, N)
        size = mel.shape[1] // 2
        positions = attended.clamp(max=size) if model.padding == "none" else torch.full_like(attended, size)
        for row, window in zip(mel, windows, strict=True):
            spec_augment(row[: len(window.wave) // model.mel.hop], self.augment, Random(window.seed ^ 2))
        tokens, targets = self.texts(windows)
        ctc_targets = [torch.tensor(list(window.text.encode()), dtype=torch.int64) for window in windows]
        return SpeechBatch(
            **vars(Batch.of(windows)),
            mel=mel,
            positions=positions,
            tokens=tokens,
            targets=targets,
            ctc_targets=pad_sequence(ctc_targets, batch_first=True),
            ctc_lengths=torch.tensor([len(row) for row in ctc_targets]),
        )

    def texts(self, windows: Sequence[TrainingWindow]) -> tuple[Tensor, Tensor]:
        """tokens, targets (B, U)."""
        tokens, targets = [], []
        for window in windows:
            ids, context = self.target_encoder(window)
            tokens.append(torch.tensor(ids[:-1]))
            targets.append(torch.tensor([IGNORED] * (context - 1) + ids[context:]))
        longest = max(len(row) for row in tokens)
        size = min(round_up(longest, self.model.device), self.model.config.text_ctx)
        return _padded(tokens, self.target_encoder.tokenizer.eot, size), _padded(targets, IGNORED, size)


def _padded(rows: Sequence[Tensor], value: int, size: int) -> Tensor:
    """(U_i,) each -> (B, size)."""
    return torch.stack([F.pad(row, (0, size - len(row)), value=value) for row in rows])


def spec_augment(mel: Tensor, config: WhisperAugmentConfig, draws: Random) -> None:
    """SpecAugment, in place: random bands of mels and stretches of time of mel (M, N) are set to its mean."""
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
    normalize: Callable[[str], str],
    seconds: float,
    log: Callable[[str], None],
) -> list[Entry]:
    """Entries with normalized texts. An empty text in the manifest means that the clip holds no speech.

    Left out, with a log line: clips without a text, clips shorter than data.min_seconds or longer than `seconds`, and
    clips with a text that only normalizing makes empty ("um", "[red]"), because they may hold speech.
    Raises ConfigError if no training clip is left.
    """
    left_out: Counter[str] = Counter()
    used: list[Entry] = []
    for entry in entries:
        if entry.text is None:
            left_out["without text"] += 1
        elif entry.duration < data.min_seconds:
            left_out["too short"] += 1
        elif entry.duration > seconds:
            left_out[f"longer than {seconds:g} s"] += 1
        elif not (text := normalize(entry.text)) and entry.text.strip():
            left_out["without words after normalizing"] += 1
        else:
            used.append(replace(entry, text=text))
    reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
    if reasons:
        log(f"{text_of(data.sources)}: {len(used)} of {len(entries)} clips are used; left out: {reasons}")
    if not any(entry.text for entry in used if entry.split == "train"):
        raise ConfigError(
            f'{text_of(data.sources)}: no clip of split "train" can be used ({reasons or "there are none"})'
        )
    return used


def window_seconds(config: WhisperTrainConfig, model: WhisperConfig) -> float:
    """Length of the longest window in seconds. Raises ConfigError if it is longer than the model's window."""
    maximum = model.audio_ctx * POSITION_SECONDS
    if config.windows.seconds is not None and not 0 < config.windows.seconds <= maximum:
        raise ConfigError(
            f"windows.seconds {config.windows.seconds:g}: the window of the model is {maximum:g} s; give less, or null"
        )
    return config.windows.seconds or maximum


def fitting(
    entries: Sequence[Entry], target_encoder: TargetEncoder, source: str, log: Callable[[str], None]
) -> list[Entry]:
    """Entries with texts that fit into a window. The number of the others is logged."""
    max_tokens = target_encoder.max_tokens - 2
    used = [entry for entry in entries if target_encoder.count(entry.text or "") <= max_tokens]
    if len(used) < len(entries):
        log(f"{source}: {len(entries) - len(used)} texts of more than {max_tokens} tokens are left out")
    return used


def check_languages(entries: Sequence[Entry], languages: Collection[str], source: str) -> None:
    """Raises ConfigError for a training or validation clip in a language without a token, naming the first one."""
    for entry in entries if languages else ():
        if entry.text and entry.split != "test" and entry.lang not in languages:
            raise ConfigError(
                f"{source}: {entry.audio} has lang {entry.lang!r}, but the model has tokens for "
                f"{', '.join(list(languages)[:8])}{' ...' if len(languages) > 8 else ''}; give every clip its language "
                'in the column `lang`, or choose clips: "data.sources=... [lang=en|de]"'
            )


def split_loader(
    config: WhisperTrainConfig, entries: Sequence[Entry], split: str, model: Whisper, all_entries: Sequence[Entry] = ()
) -> Loader:
    """Windows of one split; random and augmented for "train". Raises ConfigError if the split is empty.

    all_entries: the entries of all splits and choices, see WindowDataset.
    """
    training, data = split == "train", config.data
    chosen = [entry for entry in entries if entry.split == split and (training or entry.text)]
    if not chosen:
        raise ConfigError(f"{text_of(data.sources)}: none of {len(entries)} usable clips is in split {split!r}")
    if not training and config.dev_clips:
        chosen = chosen[:: -(-len(chosen) // config.dev_clips)]
    augment = config.augment if training else WhisperAugmentConfig()
    assert model.tokenizer is not None
    target_encoder = TargetEncoder(
        model.tokenizer, model.config.text_ctx, config.vocabulary.dropout if training else 0.0
    )
    dataset = WindowDataset(
        chosen,
        model.sample_rate,
        config.windows,
        augment,
        seconds=window_seconds(config, model.config),
        count=target_encoder.count,
        tokens=target_encoder.max_tokens,
        training=training,
        min_samples=model.min_samples,
        cache_hours=data.cache_hours,
        all_entries=all_entries,
    )
    # With padding "30s" every clip takes the model's whole window.
    lengths = dataset.seconds if model.padding == "none" else [model.window_seconds] * len(dataset)
    sampler = BatchSampler(
        lengths, data.batch_seconds, seed=config.train.seed, max_items=data.max_items, shuffle=training
    )
    collate = WhisperCollate(model, target_encoder, augment)
    return Loader(dataset, sampler, collate=collate, workers=data.workers)
