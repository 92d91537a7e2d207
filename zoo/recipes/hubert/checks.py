"""Checks that run before the hours of a round are spent. Each raises an error with the problem and the remedy."""

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
RATIO = 0.05  # relative difference between the expected (from durations) and the actual number of units
PERPLEXITY = 0.1  # minimum perplexity of the unit histogram, relative to the number of units
UNSEEN = 0.05  # share of dev frames with units that never occur in training


def check_layers(config: HubertTrainConfig, model: Encoder, target_encoder: Encoder | None) -> None:
    """Check that every configured layer number exists, of the rounds and of the final quantizer.

    model: the model that a round trains. Raises ConfigError naming the field.
    """
    layers = [
        (f"rounds, number {number}: layer", round_config.layer, target_encoder if number == 1 else model)
        for number, round_config in enumerate(config.rounds, 1)
        if round_config.features == FeatureKind.layer
    ]
    if config.final_units:
        layers.append(("final_layer", config.final_layer, model))
    for field, layer, encoder in layers:
        assert encoder is not None
        if layer is not None and not -encoder.num_layers - 1 <= layer <= encoder.num_layers:
            raise ConfigError(f"{field} {layer}: choose one of the layers 0 to {encoder.num_layers} of this model")


def check_targets(train: Labels, dev: Labels, train_entries: Sequence[Entry], dev_entries: Sequence[Entry]) -> None:
    """Check the units of a round: train and dev have the same quantizer, nearly all clips have units, their number
    fits the durations, and most of the codebook is used.

    Raises TrainingError naming the folder and the numbers.
    """
    if train.quantizer != dev.quantizer:
        raise TrainingError(
            f"{train.folder} was labeled by quantizer {train.quantizer}, {dev.folder} by {dev.quantizer}: the dev "
            "loss would mean nothing. Remove both folders and run again: both are then labeled by one quantizer"
        )
    for labels, entries in ((train, train_entries), (dev, dev_entries)):
        _check_length(labels, entries)
    for codebook, (train_counts, dev_counts) in enumerate(zip(train.counts, dev.counts, strict=True)):
        _check_usage(train, codebook, train_counts, dev_counts)


def _check_length(labels: Labels, entries: Sequence[Entry]) -> None:
    missing = [i for i, length in enumerate(labels.lengths.tolist()) if not length]
    if len(missing) > FAILED * len(entries):
        reason = labels.failures.get(missing[0], "too short")
        raise TrainingError(
            f"{labels.folder}: {len(missing)} of {len(entries)} clips have no units. The first is "
            f"{entries[missing[0]].audio}: {reason}"
        )
    expected = sum(entry.duration for i, entry in enumerate(entries) if labels.lengths[i]) * labels.rate
    # A clip has fewer frames than duration * rate: none is centered near its edges. Rounding gives back half a frame.
    lost = 2 * labels.rate * labels.center - 0.5
    corrected = int(labels.lengths.sum()) + lost * (len(entries) - len(missing))
    if abs(corrected / expected - 1) > RATIO:
        raise TrainingError(
            f"{labels.folder}: {int(labels.lengths.sum())} units, but the durations give {expected:.0f} at "
            f"{labels.rate:g} Hz. Correct the durations in the manifest, or restore changed audio files"
        )


def _check_usage(labels: Labels, codebook: int, train_counts: torch.Tensor, dev_counts: torch.Tensor) -> None:
    shares = train_counts.double() / train_counts.sum()
    perplexity = float(torch.exp(-torch.xlogy(shares, shares).sum()))
    if perplexity < max(1.5, PERPLEXITY * len(train_counts)):
        raise TrainingError(
            f"{labels.folder}: codebook {codebook} uses {perplexity:.1f} of {len(train_counts)} units (perplexity; "
            f"{math.log2(perplexity):.2f} bits): nearly every frame has the same target. Check whether the audio is "
            "silent or digitally padded. Try fewer units, or more audio to fit them on"
        )
    unseen = float(dev_counts[train_counts == 0].sum() / dev_counts.sum().clamp(min=1))
    if unseen > UNSEEN:
        raise TrainingError(
            f"{labels.folder}: {unseen:.0%} of dev frames have units of codebook {codebook} that never occur in the "
            "training set. Train and dev are too different, or there is too little training audio for so many units: "
            "use fewer units or more audio"
        )


def check_frame_rate(labels: Labels, encoder: Encoder) -> None:
    """Raises TrainingError if the frame rates of units and model differ by more than a factor of about three."""
    ratio = labels.rate / encoder.frame_rate
    if not 0.3 < ratio < 3.4:
        raise TrainingError(
            f"{labels.folder}: {labels.rate:g} units a second, {encoder.frame_rate:g} frames a second in the model; "
            "use features with a similar frame rate"
        )
