"""HuBERT pre-training from start to end. Each round makes units, then trains a model from scratch to predict them.

OUT/round-1/units, round-1/run, round-2/units, ...   OUT/round-N/final   units of the last round's model
OUT/model   the last round's model with the quantizer of these units

After a stop at any point, the same command resumes the run. Finished parts are read from disk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from zoo import checkpoint, loading, registry
from zoo.data import sources
from zoo.data.loader import DataConfig, split_loader
from zoo.encoder import Encoder
from zoo.errors import ConfigError
from zoo.models.hubert.model import HuBERT, HubertConfig
from zoo.models.whisper.model import Whisper
from zoo.recipes.hubert.checks import check_frame_rate, check_layers, check_targets
from zoo.recipes.hubert.config import FeatureKind, HubertAugmentConfig, HubertTrainConfig, LossConfig, MaskConfig, Round
from zoo.recipes.hubert.init import pretrained, with_weights_of
from zoo.recipes.hubert.task import HubertCollate, Labeled, Pretrain, symbols_of
from zoo.recipes.hubert.units import Corpus, UnitTargets, hours_of, make_quantizer, make_targets, report_measures
from zoo.train import Precision, TrainConfig, fit, processes
from zoo.train.processes import say
from zoo.units import label_corpus


@dataclass
class RoundConfig:
    """Everything that determines the model of one round. Its run folder records it, and resuming compares it."""

    round: Round
    init: str | None
    data: DataConfig
    mask: MaskConfig
    augment: HubertAugmentConfig
    loss: LossConfig
    model: HubertConfig
    train: TrainConfig


def train(config: HubertTrainConfig) -> Path:
    """Run all rounds; returns the directory of the final model.

    Raises CheckpointError, ConfigError, ManifestError, TrainingError; TrainingStopped after SIGTERM or SIGINT.
    """
    device = processes.start(config.train.device)
    processes.check_shares(config.train.batches_per_step)
    out = Path(config.out)
    if config.init is not None:
        config = replace(config, model=replace(pretrained(config.init).config, vocabulary=()))
    skeleton = model_skeleton(config.model)
    min_seconds = max(config.data.min_seconds, skeleton.min_samples / skeleton.sample_rate)
    entries = [entry for entry in sources.open(config.data.sources) if entry.duration >= min_seconds]
    loader = {split: split_loader(config.data, entries, split, skeleton.sample_rate) for split in ("train", "dev")}
    corpus = Corpus(loader["train"].dataset.entries, loader["dev"].dataset.entries)
    say(
        f"{len(corpus.train)} clips, {hours_of(corpus.train):.2f} h for training; {len(corpus.dev)} clips, "
        f"{hours_of(corpus.dev):.2f} h for dev; {'with' if corpus.has_phones else 'no'} phones to measure units against"
    )
    model = load_target_encoder(config, device)
    check_layers(config, skeleton, model)
    for number, round_config in enumerate(config.rounds, 1):
        model = run_round(config, number, round_config, model, corpus, out / f"round-{number}", device)
    assert isinstance(model, HuBERT)
    return finish(config, model, corpus, out)


def run_round(
    config: HubertTrainConfig,
    number: int,
    round_config: Round,
    target_encoder: Encoder | None,
    corpus: Corpus,
    folder: Path,
    device: torch.device,
) -> HuBERT:
    """Make units, then train a model on them.

    Returns the model in eval mode on `device`, in the precision of training or, after the last round, in float32.
    """
    say(f"round {number} of {len(config.rounds)}")
    rate = model_skeleton(config.model).frame_rate
    targets = make_targets(round_config, target_encoder, corpus, folder / "units", rate, config.train.seed)
    check_targets(targets.train, targets.dev, corpus.train, corpus.dev)
    settings = config_of_round(config, round_config, number, targets)
    torch.manual_seed(settings.train.seed)
    model = initial_model(config, settings.model)
    check_frame_rate(targets.train, model)
    model.provenance = {
        "recipe": "zoo.recipes.hubert.train",
        "round": number,
        "init": config.init,
        "data": sources.text_of(config.data.sources),
        "units": f"{targets.train.sizes} of {targets.source.title}",
        "seed": settings.train.seed,
    }
    task = Pretrain(model, config.loss, symbols_of(corpus.dev))
    train, dev = (
        split_loader(
            config.data,
            entries,
            split,
            model.sample_rate,
            model.min_samples,
            settings.train.seed,
            HubertCollate(model, labels, config.mask, augment),
            partial(Labeled, labels=labels),
        )
        for split, entries, labels, augment in (
            ("train", corpus.train, targets.train, config.augment),
            ("dev", corpus.dev, targets.dev, HubertAugmentConfig()),
        )
    )
    say(budget(settings.train, config.data, hours_of(corpus.train), task.chance()))
    result = fit(task, train, dev, settings.train, folder / "run", recipe=settings)
    dtype = encoder_dtype(config.train) if number < len(config.rounds) else "float32"
    return load(result.last, device, dtype)


def config_of_round(config: HubertTrainConfig, round_config: Round, number: int, targets: UnitTargets) -> RoundConfig:
    """The configuration of this round: with its own steps, learning rate, seed and numbers of units."""
    train = replace(
        config.train,
        steps=round_config.steps or config.train.steps,
        learning_rate=round_config.learning_rate or config.train.learning_rate,
        seed=config.train.seed + number - 1,
    )
    model = replace(config.model, units=targets.train.sizes)
    return RoundConfig(round_config, config.init, config.data, config.mask, config.augment, config.loss, model, train)


def initial_model(config: HubertTrainConfig, model: HubertConfig) -> HuBERT:
    """The untrained model of a round: weights from torch's generator, or those of `init` with a new unit head."""
    initial = (
        HuBERT(model) if config.init is None else with_weights_of(pretrained(config.init), model, ("head.", "ctc."))
    )
    initial.name = config.name
    return initial.eval()


def finish(config: HubertTrainConfig, model: HuBERT, corpus: Corpus, out: Path) -> Path:
    """Fit the final quantizer, on as many hours as that of the last round, and save it with the model."""
    if processes.is_main():
        if config.final_units:
            final = Round(FeatureKind.layer, config.final_layer, [config.final_units], hours=config.rounds[-1].hours)
            folder, seed = out / f"round-{len(config.rounds)}" / "final", config.train.seed
            source, quantizer = make_quantizer(final, model, corpus, folder, model.frame_rate, seed)
            dev = label_corpus(quantizer, source, corpus.dev, folder / "labels" / "dev")
            report_measures(dev, corpus, source)
            model.attach(quantizer)
        checkpoint.save(model.cpu(), out / "model")
    processes.barrier()
    say(f"finished: zoo.load({str(out / 'model')!r})")
    return out / "model"


def model_skeleton(config: HubertConfig) -> Encoder:
    """The model on the meta device: it knows rates and lengths but has no memory for weights."""
    with torch.device("meta"):
        return registry.build("hubert", vars(config))


def load_target_encoder(config: HubertTrainConfig, device: torch.device) -> Encoder | None:
    """The encoder for the units of the first round, or None."""
    if config.target_encoder is None:
        return None
    encoder = loading.load(config.target_encoder, device=str(device), dtype=encoder_dtype(config.train))
    if config.target_encoder_padding is not None:
        if not isinstance(encoder, Whisper):
            raise ConfigError(f"target_encoder_padding: {config.target_encoder} is not a Whisper; set it to null")
        encoder.padding = config.target_encoder_padding
    return encoder


def encoder_dtype(train: TrainConfig) -> str:
    """The number format of the encoder for units. It encodes the whole corpus, so it has the precision of training."""
    return "bfloat16" if train.precision == Precision.bf16 else "float32"


def load(directory: Path, device: torch.device, dtype: str) -> HuBERT:
    model = loading.load(directory, device=str(device), dtype=dtype)
    assert isinstance(model, HuBERT)
    return model


def budget(train: TrainConfig, data: DataConfig, hours: float, chance: float) -> str:
    """A line about the size of a round, shown before it starts."""
    seen = train.steps * train.batches_per_step * data.batch_seconds / 3600
    return (
        f"  {train.steps} steps of up to {train.batches_per_step * data.batch_seconds:.0f} s: {seen:.1f} h of audio, "
        f"{seen / hours:.1f} epochs; chance is {chance:.2f} nats"
    )
