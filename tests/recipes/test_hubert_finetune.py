"""Runs of CTC fine-tuning: learning, resuming, errors, the exported model and its evaluation."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from small import noise
from tiny_hubert import NO_MASKS, WORDS, fresh

import zoo
from zoo import config as configuration
from zoo.benchmarks.item_scores import read_rows
from zoo.benchmarks.results import read_records
from zoo.data import manifest
from zoo.data.loader import DataConfig
from zoo.data.manifest import Entry
from zoo.errors import CheckpointError, ConfigError, TrainingStopped
from zoo.recipes.hubert import ctc_run, finetune
from zoo.recipes.hubert.ctc_config import CtcTrainConfig
from zoo.recipes.hubert.ctc_task import CtcTask
from zoo.recipes.hubert.init import pretrained
from zoo.train import Schedule, TrainConfig

PRESETS = sorted((Path(zoo.recipes.hubert.__file__).parent / "ctc_presets").glob("*.yaml"))


def tone(letter: str) -> torch.Tensor:
    """A letter of the test language: 120 ms of its own pitch, and 40 ms of silence."""
    pitch = {"a": 300.0, "b": 900.0, "c": 2000.0, " ": 0.0}[letter]
    wave = 0.3 * torch.sin(2 * math.pi * pitch * torch.arange(1920) / 16_000)
    return torch.cat([wave, torch.zeros(640)])


def write_words(folder: Path, count: int = 10) -> Path:
    """A manifest of clips of WORDS in tones, in three splits."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for split in ("train", "dev", "test"):
        for i in range(count if split == "train" else 3):
            text = WORDS[i % len(WORDS)]
            wave = torch.cat([tone(letter) for letter in f" {text} "])
            wave = wave + 0.01 * noise(len(wave) / 16_000, seed=len(entries))
            path = folder / f"{split}-{i}.wav"
            soundfile.write(path, wave.numpy(), 16_000)
            entries.append(
                Entry(path, len(wave) / 16_000, split, text=f"{text.capitalize()}!", speaker=f"{split}{i}", lang="en")
            )
    manifest.write(folder / "manifest.jsonl", entries)
    return folder / "manifest.jsonl"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_words(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of pre-training."""
    folder = tmp_path_factory.mktemp("mini")
    fresh(units=(7,)).save(folder / "model")
    return folder


def settings(words: Path, start: Path, out: Path, **train: Any) -> CtcTrainConfig:
    """A run that learns the test language in seconds."""
    options = {
        "steps": 90,
        "learning_rate": 1e-2,
        "schedule": Schedule.tri_stage,
        "warmup": 0.1,
        "hold": 0.5,
        "final": 0.1,
        "log_every": 20,
        "validate_every": 30,
        "save_every": 30,
    }
    return CtcTrainConfig(
        out=str(out),
        name="tones",
        init=str(start),
        data=DataConfig(sources=str(words), batch_seconds=30.0, min_seconds=0.1),
        tune=replace(NO_MASKS, freeze_steps=5),
        train=TrainConfig(**options | train),
    )


@pytest.fixture(scope="module")
def finished(words: Path, start: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("run")
    return out, ctc_run.train(settings(words, start, out))


def test_ten_utterances_are_memorized(finished: tuple[Path, str], words: Path) -> None:
    out, line = finished
    model = zoo.load(out / "last", device="cpu")  # the best on dev may not have learned all of train yet
    entries = [entry for entry in manifest.read(words) if entry.split == "train"]
    transcripts = model.transcribe([str(entry.audio) for entry in entries], word_timestamps=True)
    assert [t.text for t in transcripts] == [(e.text or "").lower().rstrip("!") for e in entries]
    assert all(t.language == "en" for t in transcripts)
    for transcript, entry in zip(transcripts, entries, strict=True):
        assert all(0 <= w.start < w.end <= entry.duration for w in transcript.words)
    folder = out / "evaluation"
    trained, chance = read_records(folder / "results.json")
    assert trained.model == "tones" and trained.score == 0.0 and trained.test_items == trained.groups == 3
    assert chance.model == "chance" and chance.score is not None and chance.score > 0
    first = read_rows(folder, trained)[0]
    assert (first["truth"], first["predicted"]) == ("ba", "ba")
    assert "(WER, basic) | 0.0 %" in line and (folder / "results.md").read_text() in line


def test_the_log_shows_transcripts_and_blanks(finished: tuple[Path, str]) -> None:
    out, _ = finished
    assert "'ba' -> 'ba'" in (out / "log.txt").read_text()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    dev = [line for line in lines if line["split"] == "dev"]
    assert dev[-1]["wer"] == dev[-1]["cer"] == 0.0 and 0.1 < dev[-1]["blank"] < 0.95
    assert all("blank" in line for line in lines)


def test_the_model_records_its_origin(finished: tuple[Path, str], start: Path) -> None:
    model = zoo.load(finished[0] / "best", device="cpu")
    assert model.name == "tones" and model.config.units == () and model.head is None
    assert model.provenance["init_fingerprint"] == zoo.load(start / "model", device="cpu").fingerprint()
    assert model.provenance["text_normalizer"] == "basic"


def test_a_stopped_run_ends_in_the_same_weights(words: Path, start: Path, tmp_path: Path) -> None:
    """Stopped once while the encoder is frozen, and once after that."""
    short = {"steps": 12, "save_every": 3, "validate_every": 12}
    ctc_run.train(settings(words, start, tmp_path / "whole", **short))
    broken = settings(words, start, tmp_path / "broken", **short)
    for last in (3, 8):
        with pytest.MonkeyPatch.context() as patch:
            original = CtcTask.accumulate

            def stopping(
                self: CtcTask, batches: Any, backward: Any, last: int = last, original: Any = original
            ) -> None:
                if self.step == last:
                    raise TrainingStopped("as if killed")
                original(self, batches, backward)

            patch.setattr(CtcTask, "accumulate", stopping)
            with pytest.raises(TrainingStopped):
                ctc_run.train(broken)
    ctc_run.train(broken)
    weights = [(tmp_path / run / "last" / "model.safetensors").read_bytes() for run in ("whole", "broken")]
    assert weights[0] == weights[1]


def test_other_transcripts_are_other_data(words: Path, start: Path, tmp_path: Path) -> None:
    entries = manifest.read(words)
    path = tmp_path / "words.jsonl"
    config = settings(path, start, tmp_path / "run", steps=1)
    for split, data_set in (("train", "training"), ("dev", "dev")):
        manifest.write(path, entries)
        ctc_run.train(config)
        changed = next(i for i, entry in enumerate(entries) if entry.split == split)
        manifest.write(path, [replace(e, text="abba") if i == changed else e for i, e in enumerate(entries)])
        with pytest.raises(ConfigError, match=f"the {data_set} data"):
            ctc_run.train(config)


def test_models_that_cannot_be_tuned(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such model.*python -m zoo\.recipes\.hubert\.train"):
        pretrained(str(tmp_path / "none"))
    (tmp_path / "begun" / "checkpoints").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="no model yet"):
        pretrained(str(tmp_path / "begun"))
    zoo.create("logmel").save(tmp_path / "spectral")
    with pytest.raises(ConfigError, match="is a spectral"):
        pretrained(str(tmp_path / "spectral"))


def test_a_finetuned_model_is_tuned_further(finished: tuple[Path, str], words: Path, tmp_path: Path) -> None:
    """With texts that lack some of its characters, it keeps its predictions."""
    entries = [entry for entry in manifest.read(words) if "c" not in (entry.text or "").lower()]
    manifest.write(tmp_path / "few.jsonl", entries)
    config = settings(tmp_path / "few.jsonl", finished[0] / "best", tmp_path / "run", steps=1, learning_rate=1e-9)
    assert "(WER, basic) | 0.0 %" in ctc_run.train(config)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_valid(path: Path) -> None:
    config = configuration.load(CtcTrainConfig, [path])
    for line, word in enumerate(("command:", "time:", "result:"), 1):
        assert path.read_text().splitlines()[line].startswith(f"# {word}")
    assert config.train.schedule == Schedule.tri_stage


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["finetune", f"init={tmp_path / 'none'}"])
    with pytest.raises(SystemExit) as stopped:
        finetune.main()
    assert stopped.value.code == 1 and "zoo.recipes.hubert.train" in capsys.readouterr().err
