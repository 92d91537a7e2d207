"""A run from start to end: data, vocabulary, model, training, and the exam."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch

from zoo import loading
from zoo.data import sources
from zoo.data.manifest import Entry
from zoo.errors import ConfigError
from zoo.models.whisper.decoder import Decoder
from zoo.models.whisper.model import Whisper
from zoo.recipes.whisper import data
from zoo.recipes.whisper.config import WhisperTrainConfig
from zoo.recipes.whisper.evaluation import WhisperEvaluation, write
from zoo.recipes.whisper.model import freeze_layers, starting_model, student_of, teacher_of
from zoo.recipes.whisper.pseudo import pseudo_labeled
from zoo.recipes.whisper.targets import Writer
from zoo.recipes.whisper.task import Transcribe
from zoo.text.normalizers import normalizer
from zoo.train import fit, processes


def train(config: WhisperTrainConfig) -> str:
    """Train, or go on where an earlier run in config.out stopped; returns lines about the result.

    Raises ConfigError and ManifestError for what cannot be used, and whatever `fit` raises.
    """
    processes.start(config.train.device)
    processes.check_shares(config.train.batches_per_step)
    entries, known = opened(config.data.source)
    exams = _exams(config, entries)
    clean = normalizer(config.windows.text_normalizer)
    model = starting_model(config, [e for e in entries if e.text], clean)
    assert model.tokenizer is not None
    seconds = data.window_seconds(config, model.config)
    entries = data.usable(entries, config.data, clean, seconds, processes.say)
    data.check_languages(entries, model.tokenizer.languages, config.data.source)
    if config.init:
        _sit(exams, "before", model, config)
    entries = data.fitting(entries, Writer(model.tokenizer, model.config.text_ctx), config.data.source, processes.say)
    student, teacher, entries = _roles(config, model, entries)
    loaders = [data.split_loader(config, entries, split, student, known) for split in ("train", "dev")]
    task = Transcribe(
        student,
        config.tune,
        wer_normalizer=config.wer_normalizer,
        samples=config.samples,
        stamped=config.windows.timestamps == 1,
        teacher=teacher,
        distil=config.distil,
    )
    result = fit(task, loaders[0], loaders[1], config.train, config.out, recipe=config)
    line = f"{result.best}: the best of {result.step} steps by WER on dev"
    if exams and processes.is_main():
        _sit(exams, "after", cast(Whisper, loading.load(result.best, device=config.train.device)), config)
        exams[0].guess([entry for entry in entries if entry.split == "train"])
        write(exams, Path(config.out))
        line = "\n".join([line, *(exam.line() for exam in exams)])
    return line


def opened(source: str) -> tuple[list[Entry], list[Entry]]:
    """The entries of a source, and those that it has without its choices in brackets: there speaks somebody, too."""
    entries, whole = sources.open(source), sources.without_filters(source)
    return entries, entries if whole == source.strip() else sources.open(whole)


def _roles(
    config: WhisperTrainConfig, model: Whisper, entries: Sequence[Entry]
) -> tuple[Whisper, Decoder | None, list[Entry]]:
    """Who learns, who teaches if anybody does, and from what."""
    student, teacher, chosen = model, None, list(entries)
    if config.distil.decoder_layers:
        if not config.init or config.tune.freeze_encoder >= 0:
            raise ConfigError(
                "distil: give the teacher as init, and set tune.freeze_encoder=-1: it listens through the same encoder"
            )
        folder, most = Path(config.out), config.distil.max_wer
        chosen = pseudo_labeled(
            model.eval(), chosen, folder, config.wer_normalizer, most, config.windows.timestamps > 0
        )
        teacher, student = teacher_of(model), student_of(model, config.distil.decoder_layers)
    provenance = {
        "recipe": "zoo.recipes.whisper.train",
        "init": config.init,
        "init_fingerprint": model.fingerprint() if config.init else None,
        "data": config.data.source,
        "text_normalizer": config.windows.text_normalizer,
        "seed": config.train.seed,
    }
    student.name, student.provenance = config.name, provenance
    torch.manual_seed(config.train.seed)  # low-rank updates and the head of the CTC loss are drawn from here on
    freeze_layers(student, config.tune)
    return student, teacher, chosen


def _exams(config: WhisperTrainConfig, entries: Sequence[Entry]) -> list[WhisperEvaluation]:
    """The test split, then config.exams, of each all clips with a text. Times are written if times were learned."""
    stamped = config.windows.timestamps > 0
    test = [entry for entry in entries if entry.split == "test" and entry.text]
    exams = [WhisperEvaluation("test", test, config.wer_normalizer, stamped)] if test else []
    for source in config.exams:
        spoken = [entry for entry in sources.open(source) if entry.text]
        if not spoken:
            raise ConfigError(f"exams: {source} has no clip with a text")
        exams.append(WhisperEvaluation(source, spoken, config.wer_normalizer, stamped))
    return exams


def _sit(exams: Sequence[WhisperEvaluation], candidate: str, model: Whisper, config: WhisperTrainConfig) -> None:
    for exam in exams if processes.is_main() else ():
        exam.sit(candidate, model)
