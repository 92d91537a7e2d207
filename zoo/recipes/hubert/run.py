"""The whole of pre-training: for each round, units and then a model that predicts them, each from scratch.

OUT/round-1/units, round-1/run, round-2/units, ...   OUT/round-N/final   units of the last round's model
OUT/model   that model, with these units' quantizer

Killed at any point, the same command goes on from there: what is finished is only read.
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
from zoo.recipes.hubert.units import Corpus, UnitTargets, hours_of, make_quantizer, make_targets, tell_measures
from zoo.train import Precision, TrainConfig, fit, processes
from zoo.train.processes import say
from zoo.units import label_corpus


@dataclass
class RoundConfig:
    """All that one round's model depends on: what its run folder records, and compares on resuming."""

    round: Round
    init: str | None
    data: DataConfig
    mask: MaskConfig
    augment: HubertAugmentConfig
    loss: LossConfig
    model: HubertConfig
    train: TrainConfig


def train(config: HubertTrainConfig) -> Path:
    """Run all rounds; returns the directory of the finished model.

    Raises CheckpointError, ConfigError, ManifestError, TrainingError; TrainingStopped after SIGTERM or SIGINT.
    """
    device = processes.start(config.train.device)
    processes.check_shares(config.train.batches_per_step)
    out = Path(config.out)
    if config.init is not None:
        config = replace(config, model=replace(pretrained(config.init).config, vocabulary=()))
    plan = blueprint(config.model)
    shortest = plan.min_samples / plan.sample_rate
    entries = [e for e in sources.open(config.data.source) if e.duration >= max(config.data.min_seconds, shortest)]
    loader = {split: split_loader(config.data, entries, split, plan.sample_rate) for split in ("train", "dev")}
    corpus = Corpus(loader["train"].dataset.entries, loader["dev"].dataset.entries)
    say(
        f"{len(corpus.train)} clips, {hours_of(corpus.train):.2f} h for training; {len(corpus.dev)} clips, "
        f"{hours_of(corpus.dev):.2f} h for dev; {'with' if corpus.has_phones else 'no'} phones to measure units against"
    )
    model = load_teacher(config, device)
    check_layers(config, plan, model)
    for number, wanted in enumerate(config.rounds, 1):
        model = run_round(config, number, wanted, model, corpus, out / f"round-{number}", device)
    assert isinstance(model, HuBERT)
    return finish(config, model, corpus, out)


def run_round(
    config: HubertTrainConfig,
    number: int,
    wanted: Round,
    teacher: Encoder | None,
    corpus: Corpus,
    folder: Path,
    device: torch.device,
) -> HuBERT:
    """Units, then training on them; returns the model, in eval mode on `device`: to teach the next round, in float32
    after the last.
    """
    say(f"round {number} of {len(config.rounds)}")
    rate = blueprint(config.model).frame_rate
    targets = make_targets(wanted, teacher, corpus, folder / "units", rate, config.train.seed)
    check_targets(targets.train, targets.dev, corpus.train, corpus.dev)
    settings = settings_of(config, wanted, number, targets)
    torch.manual_seed(settings.train.seed)
    model = first_weights(config, settings.model)
    check_frame_rate(targets.train, model)
    model.provenance = {
        "recipe": "zoo.recipes.hubert.train",
        "round": number,
        "init": config.init,
        "data": config.data.source,
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
    dtype = teaching_dtype(config.train) if number < len(config.rounds) else "float32"
    return load(result.last, device, dtype)


def settings_of(config: HubertTrainConfig, wanted: Round, number: int, targets: UnitTargets) -> RoundConfig:
    """What the run folder of this round records: its own steps, learning rate and seed, and the units it predicts."""
    train = replace(
        config.train,
        steps=wanted.steps or config.train.steps,
        learning_rate=wanted.learning_rate or config.train.learning_rate,
        seed=config.train.seed + number - 1,
    )
    model = replace(config.model, units=targets.train.sizes)
    return RoundConfig(wanted, config.init, config.data, config.mask, config.augment, config.loss, model, train)


def first_weights(config: HubertTrainConfig, model: HubertConfig) -> HuBERT:
    """What a round begins with: weights from torch's generator, or those of `init` with a new head for the units."""
    made = HuBERT(model) if config.init is None else with_weights_of(pretrained(config.init), model, ("head.", "ctc."))
    made.name = config.name
    return made.eval()


def finish(config: HubertTrainConfig, model: HuBERT, corpus: Corpus, out: Path) -> Path:
    """Fit the quantizer that the model is to carry, on as many hours as the last round's, and save both."""
    if processes.is_main():
        if config.final_units:
            wanted = Round(FeatureKind.layer, config.final_layer, [config.final_units], hours=config.rounds[-1].hours)
            folder, seed = out / f"round-{len(config.rounds)}" / "final", config.train.seed
            source, quantizer = make_quantizer(wanted, model, corpus, folder, model.frame_rate, seed)
            dev = label_corpus(quantizer, source, corpus.dev, folder / "labels" / "dev")
            tell_measures(dev, corpus, source)
            model.attach(quantizer)
        checkpoint.save(model.cpu(), out / "model")
    processes.barrier()
    say(f"finished: zoo.load({str(out / 'model')!r})")
    return out / "model"


def blueprint(config: HubertConfig) -> Encoder:
    """The model without memory for its weights: enough to ask for rates and lengths."""
    with torch.device("meta"):
        return registry.build("hubert", vars(config))


def load_teacher(config: HubertTrainConfig, device: torch.device) -> Encoder | None:
    """The model whose layers the first round's units come from."""
    if config.teacher is None:
        return None
    teacher = loading.load(config.teacher, device=str(device), dtype=teaching_dtype(config.train))
    if config.teacher_context is not None:
        if not isinstance(teacher, Whisper):
            raise ConfigError(
                f"teacher_context: {config.teacher} is no Whisper, and hears no more than the clip anyway"
            )
        teacher.padding = config.teacher_context
    return teacher


def teaching_dtype(train: TrainConfig) -> str:
    """Of a model that units are made of: the precision of training, for it hears all audio."""
    return "bfloat16" if train.precision == Precision.bf16 else "float32"


def load(directory: Path, device: torch.device, dtype: str) -> HuBERT:
    model = loading.load(directory, device=str(device), dtype=dtype)
    assert isinstance(model, HuBERT)
    return model


def budget(train: TrainConfig, data: DataConfig, hours: float, chance: float) -> str:
    """What a round will cost, before it does."""
    seen = train.steps * train.batches_per_step * data.batch_seconds / 3600
    return (
        f"  {train.steps} steps of up to {train.batches_per_step * data.batch_seconds:.0f} s: {seen:.1f} h of audio, "
        f"{seen / hours:.1f} epochs; chance is {chance:.2f} nats"
    )
