"""MuLan training from start to end: data, model, training, and the evaluation on the test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from zoo import loading, registry
from zoo.data import sources
from zoo.data.manifest import Entry
from zoo.errors import ConfigError
from zoo.importers.mulan import from_towers
from zoo.models.mulan.audio import SpecAugment
from zoo.models.mulan.model import MuLan
from zoo.models.mulan.text import Tokenizer
from zoo.recipes.evaluation import BEFORE, evaluate
from zoo.recipes.init import load_init
from zoo.recipes.mulan.config import Loss, MulanTrainConfig
from zoo.recipes.mulan.spectra import pair_loader
from zoo.recipes.mulan.suite import has_column, write_mulan_suite
from zoo.recipes.mulan.task import Contrast
from zoo.recipes.mulan.texts import Texts
from zoo.train import fit, processes
from zoo.train.processes import say


def train(config: MulanTrainConfig) -> str:
    """Train, or resume the run in config.out, then evaluate the best model; returns a text with the results.

    Raises ConfigError and ManifestError for unusable configurations and data, and the errors of `fit`.
    """
    device = processes.start(config.train.device)
    processes.check_shares(config.train.batches_per_step)
    texts = Texts(config.data.text)
    entries = usable(config, texts)
    model = build(config, entries)
    model.augment = SpecAugment(**asdict(config.augment))
    loader = {
        split: pair_loader(entries, split, model, texts, config.data, config.train.seed) for split in ("train", "dev")
    }
    say(
        f"{len(loader['train'].dataset)} clips for training, {len(loader['dev'].dataset)} for dev; "
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters"
    )
    test = [entry for entry in entries if entry.split == "test"]
    _announce(config, test)
    if config.loss == Loss.multiview and not config.include_self:
        say(
            "multiview loss, as published: its denominator leaves out the pair itself, so the loss of a good model is "
            "below 0; `chance` is the loss of a model that finds all pairs equally similar"
        )
    result = fit(Contrast(model, config), loader["train"], loader["dev"], config.train, config.out, recipe=config)
    line = f"{result.best}: the best of {result.step} steps by retrieval on dev"
    if len(test) < 2 or not processes.is_main():
        return line
    trained = loading.load(result.best, device=str(device))
    before = build(config, entries).to(device)
    before.name = BEFORE
    suite = write_mulan_suite(config, entries, texts)
    return f"{line}\n{evaluate(suite, [trained, before], Path(config.out), str(device))}"


def _announce(config: MulanTrainConfig, test: Sequence[Entry]) -> None:
    """Say before training which parts of the evaluation will be missing."""
    if len(test) < 2:
        say(
            f"{sources.text_of(config.data.sources)} has {len(test)} test clips with text: there will be no "
            "evaluation, which needs at least 2"
        )
        return
    needed = [task.column for task in config.evaluation.zero_shot] + config.evaluation.probes
    missing = [name for name in dict.fromkeys(needed) if not has_column(test, name)]
    if missing:
        say(f"test clips have no column {', '.join(missing)}: the evaluation leaves out the tasks that need them")


def usable(config: MulanTrainConfig, texts: Texts) -> list[Entry]:
    """The clips of the source that are long enough and have a text."""
    entries = sources.open(config.data.sources)
    name = sources.text_of(config.data.sources)
    long = [entry for entry in entries if entry.duration >= config.data.min_seconds]
    if not long:
        raise ConfigError(
            f"{name}: all {len(entries)} clips are shorter than data.min_seconds; lower it, or give longer clips"
        )
    return texts.usable(long, name, say)


def build(config: MulanTrainConfig, entries: Sequence[Entry]) -> MuLan:
    """The initial model, with tokenizer. The same configuration and entries always give the same model."""
    if config.init:
        model = load_init(config.init, "`zoo list` shows the names")
    else:
        model = _assembled(config, entries)
    if not isinstance(model, MuLan):
        raise ConfigError(f"init {config.init}: this is a {model.family} model; give a MuLan")
    if model.tokenizer is None:
        raise ConfigError(
            f"{config.init or config.text.init}: has no tokenizer; put its tokenizer.json or vocab.txt beside the "
            "weights" + ("" if config.init else ", or set tokenizer=FILE")
        )
    model.name = config.name
    model.provenance = dict(model.provenance) | {
        "recipe": "zoo.recipes.mulan.train",
        "data": sources.text_of(config.data.sources),
        "loss": config.loss.value,
        "seed": config.train.seed,
        "init": config.init,
    }
    return model


def _assembled(config: MulanTrainConfig, entries: Sequence[Entry]) -> MuLan:
    """The initial model from fresh or pre-trained towers."""
    tokenizer = Tokenizer.load(config.tokenizer) if config.tokenizer else None
    if tokenizer is None and config.text.init is None:
        tokenizer = train_tokenizer(entries, config)
    settings = config.model if tokenizer is None else replace(config.model, vocab_size=len(tokenizer))
    if config.audio.init or config.text.init:
        model = from_towers(config.audio.init, config.text.init, seed=config.train.seed, **vars(settings))
    else:
        torch.manual_seed(config.train.seed)
        built = registry.build("mulan", vars(settings))
        assert isinstance(built, MuLan)
        model = built
    model.tokenizer = tokenizer or model.tokenizer
    return model


def train_tokenizer(entries: Sequence[Entry], config: MulanTrainConfig) -> Tokenizer:
    """Train a tokenizer on the texts of the training split, with at most model.vocab_size tokens."""
    texts = Texts(config.data.text)
    by_kind = (texts.of(entry).values() for entry in entries if entry.split == "train")
    return Tokenizer.train((text for kinds in by_kind for kind in kinds for text in kind), config.model.vocab_size)
