"""A training run: data, vocabulary, model, training, and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from zoo import loading
from zoo.benchmarks.evaluated import LANGUAGE_OF_CLIP
from zoo.data import sources
from zoo.data.manifest import Entry
from zoo.data.sources import Source
from zoo.encoder import Encoder
from zoo.errors import ConfigError
from zoo.models.whisper.decoder import Decoder
from zoo.models.whisper.model import Whisper
from zoo.recipes.evaluation import BEFORE, TEST, evaluate, write_wer_suite
from zoo.recipes.whisper import data
from zoo.recipes.whisper.config import WhisperTrainConfig
from zoo.recipes.whisper.model import freeze_layers, starting_model, student_of, teacher_of
from zoo.recipes.whisper.pseudo import pseudo_labeled
from zoo.recipes.whisper.targets import TargetEncoder
from zoo.recipes.whisper.task import Transcribe
from zoo.text.normalizers import normalizer
from zoo.train import fit, processes


def train(config: WhisperTrainConfig) -> str:
    """Train, or resume an earlier run in config.out. Returns lines about the result.

    Raises ConfigError and ManifestError for a configuration or data that cannot be used, and the errors of `fit`.
    """
    processes.start(config.train.device)
    processes.check_shares(config.train.batches_per_step)
    source = sources.text_of(config.data.sources)
    entries, all_entries = opened(config.data.sources)
    test = _test_clips(config, entries)
    normalize = normalizer(config.windows.text_normalizer)
    model = starting_model(config, [e for e in entries if e.text], normalize)
    assert model.tokenizer is not None
    seconds = data.window_seconds(config, model.config)
    entries = data.usable(entries, config.data, normalize, seconds, processes.say)
    data.check_languages(entries, model.tokenizer.languages, source)
    target_encoder = TargetEncoder(model.tokenizer, model.config.text_ctx)
    entries = data.fitting(entries, target_encoder, source, processes.say)
    student, teacher, entries = _student_and_teacher(config, model, entries)
    loaders = [data.split_loader(config, entries, split, student, all_entries) for split in ("train", "dev")]
    task = Transcribe(
        student,
        config.tune,
        wer_normalizer=config.wer_normalizer,
        samples=config.samples,
        with_timestamps=config.windows.timestamps == 1,
        teacher=teacher,
        distil=config.distil,
    )
    result = fit(task, loaders[0], loaders[1], config.train, config.out, recipe=config)
    line = f"{result.best}: the best of {result.step} steps by WER on dev"
    if not test or not processes.is_main():
        return line
    models: list[Encoder] = [loading.load(result.best, device=config.train.device)]
    if config.init:
        before = starting_model(config, [], normalize).to(models[0].device).eval()
        before.name = BEFORE
        models.append(before)
    options = {"vad": "none", "timestamps": str(config.windows.timestamps > 0), "language": LANGUAGE_OF_CLIP}
    train_clips = [entry for entry in entries if entry.split == "train"]
    about = f"{config.name}: trained on {source}, {config.train.steps} steps"
    suite = write_wer_suite(Path(config.out), about, config.wer_normalizer, test, train_clips, options)
    return f"{line}\n{evaluate(suite, models, Path(config.out), config.train.device)}"


def opened(chosen: Sequence[Source]) -> tuple[list[Entry], list[Entry]]:
    """The entries of some sources, and all entries of the same sources, whatever they choose."""
    entries, whole = sources.open(chosen), sources.whole(chosen)
    return entries, entries if whole == list(chosen) else sources.open(whole)


def _student_and_teacher(
    config: WhisperTrainConfig, model: Whisper, entries: Sequence[Entry]
) -> tuple[Whisper, Decoder | None, list[Entry]]:
    """The model to train, the teacher's decoder with distillation, and the training entries. Raises ConfigError."""
    student, teacher, used = model, None, list(entries)
    if config.distil.decoder_layers:
        if not config.init or config.tune.freeze_encoder >= 0:
            raise ConfigError(
                "distil: give the teacher as init, and set tune.freeze_encoder=-1: the student shares its encoder"
            )
        used = pseudo_labeled(
            model.eval(),
            used,
            Path(config.out),
            config.wer_normalizer,
            config.distil.max_wer,
            config.windows.timestamps > 0,
        )
        teacher, student = teacher_of(model), student_of(model, config.distil.decoder_layers)
    provenance = {
        "recipe": "zoo.recipes.whisper.train",
        "init": config.init,
        "init_fingerprint": model.fingerprint() if config.init else None,
        "data": sources.text_of(config.data.sources),
        "text_normalizer": config.windows.text_normalizer,
        "seed": config.train.seed,
    }
    student.name, student.provenance = config.name, provenance
    torch.manual_seed(config.train.seed)  # for low-rank updates and the head of the CTC loss
    freeze_layers(student, config.tune)
    return student, teacher, used


def _test_clips(config: WhisperTrainConfig, entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Clips with a text: those of the test split, and all clips of each of config.test_sources.

    Raises ConfigError for a source without a text.
    """
    test = [entry for entry in entries if entry.split == "test" and entry.text]
    clips = {TEST: test} if test else {}
    for source in config.test_sources:
        with_text = [replace(entry, split="test") for entry in sources.open(source) if entry.text]
        if not with_text:
            raise ConfigError(f"test_sources: {source} has no clip with a text")
        clips[source] = with_text
    return clips
