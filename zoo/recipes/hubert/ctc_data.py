"""Transcribed clips for CTC: selection of usable clips, and batches of waveforms with labels and masks.

Legend: B batch, T frames, D width, U labels.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zoo.data.dataset import AudioDataset, Batch, LoadedClip
from zoo.data.loader import DataConfig
from zoo.data.manifest import Entry
from zoo.data.sources import text_of
from zoo.errors import ConfigError
from zoo.io.seeds import mix
from zoo.models.ctc import Alphabet
from zoo.models.hubert.model import HuBERT
from zoo.recipes.hubert.augment import augmented
from zoo.recipes.hubert.config import HubertAugmentConfig
from zoo.recipes.hubert.ctc_config import CtcTuneConfig
from zoo.recipes.hubert.masking import span_mask
from zoo.recipes.shapes import widen
from zoo.text.normalizers import normalizer


@dataclass
class TextBatch(Batch):
    """A batch with transcripts: labels (B, U), label_lengths (B,); masked (B, T) frames, masked_channels (B, D)."""

    on_device = ("waves", "masked_channels")

    labels: Tensor = field(default_factory=lambda: torch.empty(0))
    label_lengths: Tensor = field(default_factory=lambda: torch.empty(0))
    masked: Tensor = field(default_factory=lambda: torch.empty(0))
    masked_channels: Tensor = field(default_factory=lambda: torch.empty(0))


class Transcribed(AudioDataset):
    """Clips with texts as the training targets."""

    def fingerprint(self) -> str:
        """The fingerprint of AudioDataset, followed by one of the texts."""
        texts = hashlib.sha256("\n".join(entry.text or "" for entry in self.entries).encode()).hexdigest()
        return f"{super().fingerprint()}-{texts[:16]}"


class CtcCollate:
    """Items -> TextBatch. Masks are a function of the item's seed."""

    def __init__(self, model: HuBERT, alphabet: Alphabet, tune: CtcTuneConfig, augment: HubertAugmentConfig) -> None:
        self.model, self.alphabet, self.tune, self.augment = model, alphabet, tune, augment

    def __call__(self, items: Sequence[LoadedClip]) -> TextBatch:
        targets = [self.alphabet.encode(item.entry.text or "") for item in items]
        items, _ = augmented(items, self.augment, self.model, [_frames_needed(target) for target in targets])
        plain = Batch.of(items)
        frames = widen(plain, self.model)
        labels = [torch.tensor(row, dtype=torch.int64) for row in targets]
        masked = torch.zeros(len(items), frames, dtype=torch.bool)
        for row, item in zip(masked, items, strict=True):
            count = self.model.count_frames(len(item.wave))
            row[:count] = span_mask(count, item.seed, self.tune.time_mask)
        channels = [span_mask(self.model.dim, mix(item.seed, 1), self.tune.channel_mask) for item in items]
        return TextBatch(
            **vars(plain),
            labels=pad_sequence(labels, batch_first=True),
            label_lengths=torch.tensor([len(row) for row in labels]),
            masked=masked,
            masked_channels=torch.stack(channels),
        )


def usable(
    entries: Sequence[Entry], config: DataConfig, normalize: str, model: HuBERT, say: Callable[[str], None]
) -> tuple[list[Entry], Alphabet]:
    """Usable entries with normalized text, and the alphabet of the training set.

    Not usable: clips without text, shorter than data.min_seconds, longer than data.max_seconds (the text of a cropped
    clip is unknown), or, for training, with more characters than frames. `say` gets a line with their numbers.
    Raises ConfigError if no training clip is usable.
    """
    normalize_text = normalizer(normalize)
    reasons = {"without text": 0, "too short": 0, "too long": 0, "more characters than frames": 0}
    usable_entries: list[Entry] = []
    for entry in entries:
        text = normalize_text(entry.text or "")
        frames = model.count_frames(int(entry.duration * model.sample_rate))
        if not text:
            reasons["without text"] += 1
        elif entry.duration < config.min_seconds or not frames:
            reasons["too short"] += 1
        elif config.max_seconds is not None and entry.duration > config.max_seconds:
            reasons["too long"] += 1
        elif entry.split == "train" and _frames_needed(text) > frames:
            reasons["more characters than frames"] += 1
        else:
            usable_entries.append(replace(entry, text=text))
    if left_out := ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count):
        say(f"{text_of(config.sources)}: {len(usable_entries)} of {len(entries)} clips are used; left out: {left_out}")
    texts = [entry.text or "" for entry in usable_entries if entry.split == "train"]
    if not texts:
        raise ConfigError(
            f'{text_of(config.sources)}: no clip of split "train" can be used ({left_out or "there are none"})'
        )
    return usable_entries, Alphabet.of(texts)


def _frames_needed(text: Sequence[object]) -> int:
    """One frame for each character, and one for a blank between two equal characters."""
    return len(text) + sum(a == b for a, b in itertools.pairwise(text))
