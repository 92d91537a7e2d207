"""Masked prediction of hidden units (Hsu et al. 2021, arXiv 2106.07447, section II-B).

Legend: B batch, T frames, C codebooks, K units, P phones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.cluster import Measures
from zoo.cluster.measures import phones_of_frames
from zoo.data.dataset import AudioDataset, Batch, LoadedClip
from zoo.data.manifest import Entry
from zoo.encoder import Frames
from zoo.errors import AudioError
from zoo.models.hubert.model import HuBERT
from zoo.nn.masking import lengths_to_mask, select_frames
from zoo.recipes.hubert.augment import augmented
from zoo.recipes.hubert.config import HubertAugmentConfig, LossConfig, MaskConfig
from zoo.recipes.hubert.masking import span_mask
from zoo.recipes.shapes import lengthen, widen
from zoo.train import Output, TrainingTask, processes
from zoo.train.health import effective_rank
from zoo.units import Labels

RANK_FRAMES = 2000  # of the dev set, for the effective rank


@dataclass
class UnitBatch(Batch):
    """A batch with targets (B, T, C) and masked (B, T), True for masked frames."""

    on_device = ("waves", "targets")

    targets: Tensor = field(default_factory=lambda: torch.empty(0))
    masked: Tensor = field(default_factory=lambda: torch.empty(0))


class Labeled(AudioDataset):
    """Clips with units. A clip without units (it was unreadable or too short when it was labeled) raises AudioError."""

    def __init__(self, entries: Sequence[Entry], sample_rate: int, *, labels: Labels, **settings: Any) -> None:
        super().__init__(entries, sample_rate, **settings)
        self.labels = labels

    def item(self, index: int, seed: int) -> LoadedClip:
        if not self.labels.lengths[index]:
            reason = f"has no units in {self.labels.folder}: {self.labels.failures.get(index, 'too short')}"
            raise AudioError(self.entries[index].audio, reason)
        return super().item(index, seed)


class HubertCollate:
    """Items -> UnitBatch: augments each crop, looks up its units and draws its mask."""

    def __init__(self, model: HuBERT, labels: Labels, mask: MaskConfig, augment: HubertAugmentConfig) -> None:
        self.model, self.labels, self.mask, self.augment = model, labels, mask, augment

    def __call__(self, items: Sequence[LoadedClip]) -> UnitBatch:
        items, speeds = augmented(items, self.augment, self.model)
        plain = Batch.of(items)
        frames = widen(plain, self.model)
        targets = torch.zeros(len(items), frames, len(self.labels.sizes), dtype=torch.int64)
        masked = torch.zeros(len(items), frames, dtype=torch.bool)
        for b, (item, speed) in enumerate(zip(items, speeds, strict=True)):
            count = self.model.count_frames(len(item.wave))
            targets[b, :count] = self.labels.at(item.index, item.start, count, self.model, speed=float(speed))
            masked[b, :count] = span_mask(count, item.seed, self.mask)
        return UnitBatch(**vars(plain), targets=targets, masked=masked)


class Pretrain(TrainingTask):
    """Cross-entropy of units: alpha * (sum over masked frames) + (1 - alpha) * (sum over other frames).

    The count is weighted in the same way: alpha * masked frames + (1 - alpha) * other frames. The losses of several
    codebooks are added. The feature penalty is multiplied by this count, as in fairseq.
    """

    hidden = frozenset({"bits", "chance_bits", "masked_loss", "unmasked_loss", "unmasked_accuracy"})

    def __init__(self, model: HuBERT, loss: LossConfig, phones: Sequence[str] = ()) -> None:
        """phones: symbols of the dev set, for PNMI of the predicted units; empty if the dev set has no phones."""
        super().__init__()
        self.model, self.loss = model, loss
        self.symbols = {symbol: i for i, symbol in enumerate(phones)}

    def forward(self, batch: UnitBatch) -> Output:
        features = self.model.frontend(batch.waves, batch.lengths)  # (B, T, channels)
        scale = self.loss.frontend_gradient
        features = features if scale == 1 else features * scale + features.detach() * (1 - scale)
        frames = self.model.contextualize(features, batch.lengths, masked=batch.masked)
        real = lengths_to_mask(frames.lengths, features.shape[1])  # (B, T)
        masked, other = batch.masked, real & ~batch.masked  # (B, T)
        alpha = self.loss.alpha
        loss, logs = features.new_zeros((), dtype=torch.float32), {}
        for name, weight, selected in (("masked", alpha, masked), ("unmasked", 1 - alpha, other)):
            if weight or not self.training:
                x, targets = select_frames(frames.x, selected), select_frames(batch.targets, selected)
                error, correct = self.predict(x, targets)
                loss = loss + weight * error
                logs[f"{name}_accuracy"] = (correct, selected.sum() * len(self.model.config.units))
                logs[f"{name}_loss"] = (error.detach(), selected.sum())
        count = alpha * masked.sum() + (1 - alpha) * other.sum()
        if self.loss.feature_penalty:
            penalty = select_frames(features, real).float().square().mean()
            loss = loss + self.loss.feature_penalty * penalty * count
        logs["bits"] = (loss.detach() / math.log(2), count)
        return Output(loss, count, logs)

    def predict(self, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, D), targets (N, C) -> summed cross-entropy in nats, and the number of correct units among N C."""
        error, correct = x.new_zeros((), dtype=torch.float32), torch.zeros((), device=x.device)
        assert self.model.head is not None
        for logits, target in zip(self.model.head(lengthen(x)), targets.unbind(1), strict=True):  # (N', K), (N,)
            logits = logits[: len(x)]
            error = error + F.cross_entropy(logits.float(), target, reduction="sum")
            correct = correct + (logits.detach().argmax(1) == target).sum()
        return error, correct

    def chance(self) -> float:
        """Loss, in nats, of a uniform distribution over units."""
        return sum(math.log(size) for size in self.model.config.units)

    def validate(self, batches: Iterable[UnitBatch]) -> dict[str, float]:
        """Means over the dev set; PNMI of the units predicted from unmasked audio; effective rank of the last layer."""
        collected = Collected(len(self.symbols), self.model.config.units[0])
        metrics = super().validate(self._collect(batch, collected) for batch in batches)
        metrics |= {"chance": self.chance(), "chance_bits": self.chance() / math.log(2)}
        table = sum(torch.tensor(part) for part in processes.gather(collected.table.tolist()))
        if isinstance(table, Tensor) and table.sum():
            metrics["pnmi"] = Measures.of(table).pnmi
        if collected.frames:  # a process may have no dev batch, but the first one, which reports, always has
            metrics["effective_rank"] = effective_rank(torch.cat(collected.frames))
        return metrics

    def _collect(self, batch: UnitBatch, collected: Collected) -> UnitBatch:
        if not collected.wants_more:
            return batch
        with self.autocast():
            frames = self.model(batch.waves, batch.lengths)
            assert self.model.head is not None
            units = self.model.head(frames.x)[0].argmax(-1).cpu()  # (B, T)
        collected.add(batch, frames, units, self.symbols, self.model)
        return batch

    def export(self, directory: Path) -> None:
        self.model.save(directory)


class Collected:
    """Collected from unmasked audio in validation: table (P, K) of phones and units, some frames of the last layer."""

    def __init__(self, phones: int, units: int) -> None:
        self.table = torch.zeros(phones, units, dtype=torch.int64)
        self.frames: list[Tensor] = []
        self.frames_left = RANK_FRAMES

    @property
    def wants_more(self) -> bool:
        return self.frames_left > 0 or len(self.table) > 0

    def add(self, batch: Batch, frames: Frames, units: Tensor, symbols: dict[str, int], model: HuBERT) -> None:
        for b, (entry, x) in enumerate(zip(batch.entries, frames.unpad(), strict=True)):
            if self.frames_left > 0:
                self.frames.append(x[:: max(1, len(x) // 40)][: self.frames_left].float().cpu())
                self.frames_left -= len(self.frames[-1])
            if entry.phones:
                begin = model.first_time + int(batch.starts[b]) / model.sample_rate
                phones = phones_of_frames(entry.phones, len(x), model.frame_rate, begin, symbols)
                inside = phones >= 0
                pairs = phones[inside] * self.table.shape[1] + units[b, : len(x)][inside]
                self.table += torch.bincount(pairs, minlength=self.table.numel()).view_as(self.table)


def symbols_of(entries: Iterable[Entry]) -> list[str]:
    """All phones of the entries, in a fixed order."""
    return sorted({symbol for entry in entries for _, _, symbol in entry.phones})
