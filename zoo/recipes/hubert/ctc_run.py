"""Fine-tuning from start to end: data, model, training, and the evaluation on the test split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo import loading
from zoo.benchmarks.wer import error_rates
from zoo.data import sources
from zoo.data.loader import split_loader
from zoo.data.manifest import Entry
from zoo.errors import ConfigError
from zoo.io.atomic import replacing_file
from zoo.models.ctc import Alphabet
from zoo.recipes.hubert import ctc_data
from zoo.recipes.hubert.config import HubertAugmentConfig
from zoo.recipes.hubert.ctc_config import CtcTrainConfig
from zoo.recipes.hubert.ctc_model import with_head
from zoo.recipes.hubert.ctc_task import CtcTask
from zoo.recipes.hubert.init import pretrained
from zoo.recipes.readable import readable
from zoo.train import fit, processes

TEST, TEST_TEXTS = "test.json", "test.tsv"
GROUP = 256  # test clips transcribed together


def train(config: CtcTrainConfig) -> str:
    """Train, or resume the run in config.out; returns a line about the result.

    Raises ConfigError and ManifestError for unusable configurations and data, and the errors of `fit`.
    """
    processes.start(config.train.device)
    processes.check_shares(config.train.batches_per_step)
    start = pretrained(config.init)
    entries = sources.open(config.data.source)
    entries, alphabet = ctc_data.usable(entries, config.data, config.text_normalizer, start, processes.say)
    torch.manual_seed(config.train.seed)
    model = with_head(start, alphabet.symbols, config.tune, processes.say)
    alphabet = Alphabet(model.config.vocabulary)
    model.name = config.name
    model.provenance = {
        "recipe": "zoo.recipes.hubert.finetune",
        "init": config.init,
        "init_fingerprint": start.fingerprint(),
        "data": config.data.source,
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
    if test and processes.is_main():
        line += f"; {evaluate(result.best, test, config.text_normalizer, Path(config.out), config.train.device)}"
    return line


def evaluate(model: Path, entries: Sequence[Entry], normalize: str, out: Path, device: str = "auto") -> str:
    """Error rates of a model's greedy transcripts, written to test.json and, with the texts, to test.tsv.

    Returns a line with the rates. The interval is over speakers, or over clips if there is only one speaker. Unreadable
    clips are left out, with a warning. Raises ConfigError if all clips are unreadable.
    """
    recognizer: Any = loading.load(model, device=device)
    used: list[Entry] = []
    hypotheses: list[str] = []
    for group, clips in readable(entries, recognizer.sample_rate, GROUP):
        used += group
        hypotheses += [transcript.text for transcript in recognizer.transcribe(clips, recognizer.sample_rate)]
    if not used:
        raise ConfigError(f"none of the {len(entries)} clips of the test split can be read; check their paths")
    entries = used
    speakers = np.array([entry.speaker or str(entry.audio) for entry in entries])
    several = len(set(speakers)) > 1  # a single speaker has no interval
    rates = error_rates([entry.text or "" for entry in entries], hypotheses, normalize, speakers if several else None)
    interval = [rates.interval.low, rates.interval.high]
    scores = {"wer": rates.wer, "cer": rates.cer, "interval": interval, "clips": len(entries), "normalize": normalize}
    with replacing_file(out / TEST) as partial:
        partial.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
    with replacing_file(out / TEST_TEXTS) as partial:
        rows = (
            f"{entry.audio.name}\t{entry.speaker or ''}\t{entry.text}\t{hypothesis}\n"
            for entry, hypothesis in zip(entries, hypotheses, strict=True)
        )
        partial.write_text("file\tspeaker\treference\ttranscript\n" + "".join(rows), encoding="utf-8")
    units = f"{len(set(speakers))} speakers" if several and all(entry.speaker for entry in entries) else "clips"
    return (
        f"test: WER {rates.wer:.1%} ({interval[0]:.1%} to {interval[1]:.1%} over {units}), "
        f"CER {rates.cer:.1%}, {len(entries)} clips"
    )
