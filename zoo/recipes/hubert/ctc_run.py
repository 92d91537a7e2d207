"""Fine-tuning from start to end: data, model, training, and the evaluation on the test split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from zoo import loading
from zoo.data import sources
from zoo.data.loader import split_loader
from zoo.models.ctc import Alphabet
from zoo.recipes.evaluation import TEST, evaluate, write_wer_suite
from zoo.recipes.hubert import ctc_data
from zoo.recipes.hubert.config import HubertAugmentConfig
from zoo.recipes.hubert.ctc_config import CtcTrainConfig
from zoo.recipes.hubert.ctc_model import with_head
from zoo.recipes.hubert.ctc_task import CtcTask
from zoo.recipes.hubert.init import pretrained
from zoo.train import fit, processes


def train(config: CtcTrainConfig) -> str:
    """Train, or resume the run in config.out; returns a line about the result.

    Raises ConfigError and ManifestError for unusable configurations and data, and the errors of `fit`.
    """
    processes.start(config.train.device)
    processes.check_shares(config.train.batches_per_step)
    start = pretrained(config.init)
    entries = sources.open(config.data.sources)
    entries, alphabet = ctc_data.usable(entries, config.data, config.text_normalizer, start, processes.say)
    torch.manual_seed(config.train.seed)
    model = with_head(start, alphabet.symbols, config.tune, processes.say)
    alphabet = Alphabet(model.config.vocabulary)
    model.name = config.name
    model.provenance = {
        "recipe": "zoo.recipes.hubert.finetune",
        "init": config.init,
        "init_fingerprint": start.fingerprint(),
        "data": sources.text_of(config.data.sources),
        "text_normalizer": config.text_normalizer,
        "languages": sorted({entry.lang for entry in entries if entry.lang and entry.split == "train"}),
    }
    data = replace(config.data, max_seconds=None)  # cropping would separate a clip from its text
    train, dev = (
        split_loader(
            data,
            entries,
            split,
            model.sample_rate,
            model.min_samples,
            config.train.seed,
            ctc_data.CtcCollate(model, alphabet, config.tune, augment),
            ctc_data.Transcribed,
        )
        for split, augment in (("train", config.augment), ("dev", HubertAugmentConfig()))
    )
    result = fit(CtcTask(model, config.tune, config.samples), train, dev, config.train, config.out, recipe=config)
    line = f"{result.best}: the best of {result.step} steps by WER on dev"
    test = [entry for entry in entries if entry.split == "test"]
    if not test or not processes.is_main():
        return line
    train_clips = [entry for entry in entries if entry.split == "train"]
    about = f"{config.name}: trained on {sources.text_of(config.data.sources)}, {config.train.steps} steps"
    suite = write_wer_suite(Path(config.out), about, config.text_normalizer, {TEST: test}, train_clips, {})
    trained = loading.load(result.best, device=config.train.device)
    return f"{line}\n{evaluate(suite, [trained], Path(config.out), config.train.device)}"
