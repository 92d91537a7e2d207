"""Checks before a model spends hours on a round, or on one that cannot be followed by the next: each stops with what is
wrong and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from zoo.data.manifest import Entry
from zoo.encoder import Encoder
from zoo.errors import ConfigError, TrainingError
from zoo.recipes.hubert.config import FeatureKind, HubertTrainConfig
from zoo.units import Labels

FAILED = 0.1  # share of clips that may lack units
RATIO = 0.05  # relative difference between units expected from the durations and those that are there
PERPLEXITY = 0.1  # least perplexity of the units' use, relative to their number
UNSEEN = 0.05  # share of dev frames whose unit never occurs in training


def check_layers(config: HubertTrainConfig, model: Encoder, teacher: Encoder | None) -> None:
    """Every layer that a round, or the finished model's quantizer, is to be fitted on by number is there.

    model: of a round. Raises ConfigError naming the field.
    """
    asked = [
        (f"rounds, number {number}: layer", wanted.layer, teacher if number == 1 else model)
        for number, wanted in enumerate(config.rounds, 1)
        if wanted.features == FeatureKind.layer
    ]
    if config.final_units:
        asked.append(("final_layer", config.final_layer, model))
    for field, layer, encoder in asked:
        assert encoder is not None
        if layer is not None and not -encoder.num_layers - 1 <= layer <= encoder.num_layers:
            raise ConfigError(f"{field} {layer}: the model it is of has layers 0 to {encoder.num_layers}")


def check_targets(train: Labels, dev: Labels, train_entries: Sequence[Entry], dev_entries: Sequence[Entry]) -> None:
    """One quantizer for train and dev; units for nearly all clips, as many as their durations ask for; units in use.

    Raises TrainingError naming the folder and the figures.
    """
    if train.quantizer != dev.quantizer:
        raise TrainingError(
            f"{train.folder} was labeled by quantizer {train.quantizer}, {dev.folder} by {dev.quantizer}: the dev "
            "loss would mean nothing; remove both folders, and the run labels them anew"
        )
    for labels, entries in ((train, train_entries), (dev, dev_entries)):
        _check_length(labels, entries)
    for book, (counts, others) in enumerate(zip(train.counts, dev.counts, strict=True)):
        _check_usage(train, book, counts, others)


def _check_length(labels: Labels, entries: Sequence[Entry]) -> None:
    missing = [i for i, length in enumerate(labels.lengths.tolist()) if not length]
    if len(missing) > FAILED * len(entries):
        reason = labels.failures.get(missing[0], "too short")
        raise TrainingError(
            f"{labels.folder}: {len(missing)} of {len(entries)} clips have no units; the first, "
            f"{entries[missing[0]].audio}: {reason}"
        )
    expected = sum(entry.duration for i, entry in enumerate(entries) if labels.lengths[i]) * labels.rate
    ends = 2 * labels.rate * labels.center - 0.5  # frames that a clip lacks: its edges, less half a frame by rounding
    found = int(labels.lengths.sum()) + ends * (len(entries) - len(missing))
    if abs(found / expected - 1) > RATIO:
        raise TrainingError(
            f"{labels.folder}: {int(labels.lengths.sum())} units where {expected:.0f} are due at {labels.rate:g} Hz; "
            "the durations of the manifest are wrong, or the audio was changed"
        )


def _check_usage(labels: Labels, book: int, counts: torch.Tensor, others: torch.Tensor) -> None:
    used = counts.double() / counts.sum()
    perplexity = float(torch.exp(-torch.xlogy(used, used).sum()))
    if perplexity < max(1.5, PERPLEXITY * len(counts)):
        raise TrainingError(
            f"{labels.folder}: codebook {book} uses {perplexity:.1f} of {len(counts)} units (perplexity; "
            f"{math.log2(perplexity):.2f} bits): nearly every frame has the same target. Is the audio silent, or "
            "digitally padded? Fewer units, or more audio to fit them on, may help"
        )
    unseen = float(others[counts == 0].sum() / others.sum().clamp(min=1))
    if unseen > UNSEEN:
        raise TrainingError(
            f"{labels.folder}: {unseen:.0%} of dev frames have units of codebook {book} that training never sees; "
            "train and dev are too different, or there is too little training audio for so many units"
        )


def check_frame_rate(labels: Labels, encoder: Encoder) -> None:
    """Raises TrainingError where the model has fewer frames than a third of the units, or far more."""
    ratio = labels.rate / encoder.frame_rate
    if not 0.3 < ratio < 3.4:
        raise TrainingError(
            f"{labels.folder}: {labels.rate:g} units a second for a model of {encoder.frame_rate:g} frames a second"
        )
