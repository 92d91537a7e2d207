"""Whisper training as runs: on tones, stopped and resumed, in two processes; presets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from spoken_tones import WORDS, write_clips
from tiny_whisper import settings

import zoo
import zoo.text.transcript
from zoo import config as configuration
from zoo.benchmarks.evaluated import languages_of
from zoo.benchmarks.item_scores import read_rows
from zoo.benchmarks.results import read_records
from zoo.data import manifest
from zoo.errors import ConfigError, TrainingStopped
from zoo.models.whisper.model import Whisper
from zoo.recipes.whisper import pseudo, train
from zoo.recipes.whisper.config import (
    DistilConfig,
    LoraConfig,
    VocabularyConfig,
    WhisperAugmentConfig,
    WhisperTrainConfig,
    WhisperTuneConfig,
    WindowConfig,
)
from zoo.recipes.whisper.model import loaded
from zoo.recipes.whisper.run import train as run
from zoo.recipes.whisper.task import Transcribe

PRESETS = sorted((Path(zoo.recipes.whisper.__file__).parent / "presets").glob("*.yaml"))


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("tones"))


@pytest.fixture(scope="module")
def finished(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("run") / "tones"
    return out, run(settings(tones, out))


def test_ten_clips_are_learned_without_an_error(finished: tuple[Path, str], tones: Path) -> None:
    """WER 0 on the training clips, by the exported model and the library's own transcription."""
    out, line = finished
    assert "by WER on dev" in line and "test (WER, basic)" in line
    model = zoo.load(out / "best", device="cpu")
    assert isinstance(model, Whisper) and model.name == "tones" and model.padding == "none"
    learned = [entry for entry in manifest.read(tones) if entry.split == "train"]
    transcripts = model.transcribe([str(entry.audio) for entry in learned], vad="none", timestamps=False)
    assert [transcript.text for transcript in transcripts] == [word.capitalize() for word in WORDS]
    assert model.provenance["recipe"] == "zoo.recipes.whisper.train" and model.provenance["init"] is None
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["wer"] for line in lines if line["split"] == "dev"][-1] == 0.0
    shown = (out / "log.txt").read_text()
    assert "'Ba' -> 'Ba'" in shown


def test_results_of_the_evaluation_are_written(finished: tuple[Path, str]) -> None:
    trained, chance = read_records(finished[0] / "evaluation" / "results.json")
    assert trained.task == "test" and trained.test_items == 4 and trained.metric == "WER, basic"
    assert 0 <= trained.low <= trained.score < chance.score
    assert {row["predicted"] for row in read_rows(finished[0] / "evaluation", chance)} == {"Ba"}
    assert len(read_rows(finished[0] / "evaluation", trained)) == 4


def test_fine_tuning_is_compared_with_its_start(finished: tuple[Path, str], tones: Path, tmp_path: Path) -> None:
    config = replace(
        settings(tones, tmp_path / "tuned", steps=2, learning_rate=1e-5),
        init=str(finished[0]),
        name="tuned",
        tune=WhisperTuneConfig(lora=LoraConfig(rank=2)),
        test_sources=[str(tones)],
    )
    line = run(config)
    model = zoo.load(tmp_path / "tuned" / "best", device="cpu")
    start = zoo.load(finished[0] / "best", device="cpu")
    assert model.provenance["init_fingerprint"] == start.fingerprint() != model.fingerprint()
    records = {(r.task, r.model): r for r in read_records(tmp_path / "tuned" / "evaluation" / "results.json")}
    assert list(records) == [
        *[(task, name) for name in ("tuned", "before training") for task in ("test", str(tones))],
        ("test", "chance"),
    ]
    assert records[str(tones), "tuned"].test_items == 18
    assert records["test", "before training"].fingerprint == start.fingerprint()
    assert "difference to the best" in line


def test_a_clip_without_a_language_stops_a_run_before_it_begins(tones: Path, tmp_path: Path) -> None:
    entries = [replace(entry, lang="de" if i else None) for i, entry in enumerate(manifest.read(tones))]
    manifest.write(tmp_path / "mixed.jsonl", entries)
    with pytest.raises(ConfigError, match=f"{entries[0].audio.name} has lang None, .* column `lang`"):
        run(settings(tmp_path / "mixed.jsonl", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_distillation_from_pseudo_labels(
    finished: tuple[Path, str], tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def transcribe(self: Whisper, clips: list[Any], *args: Any, **options: Any) -> list[Any]:
        segment = zoo.text.transcript.Segment
        return [zoo.text.transcript.Transcript("en", 1.0, [segment(0, 1, text)]) for text in answers]

    answers = ["Ba", "Abba", "Nonsense", *(word.capitalize() for word in WORDS[3:])]
    monkeypatch.setattr(Whisper, "transcribe", transcribe)
    teacher = loaded(str(finished[0]))
    entries = manifest.read(tones)
    labeled = pseudo.pseudo_labeled(teacher, entries, tmp_path, "basic", 0.5)
    assert [e.text for e in labeled if e.split == "train"] == [w.capitalize() for w in WORDS if w != "cab"]
    assert len([e for e in labeled if e.split != "train"]) == 8
    file = tmp_path / pseudo.FILE
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:-1]) + '\n{"clip": "cut')
    answers[:] = ["Anew"]
    again = pseudo.pseudo_labeled(teacher, entries, tmp_path, "basic", None)
    texts = [e.text for e in again if e.split == "train"]
    assert texts[2] == "Nonsense" and texts[-1] == "Anew" and texts[:2] == ["Ba", "Abba"], (
        "only the incomplete line is made again"
    )
    answers[:] = [word.upper() for word in WORDS]
    other = pseudo.pseudo_labeled(teacher, entries, tmp_path, "basic", None, with_timestamps=False)
    assert [e.text for e in other if e.split == "train"] == answers, "these were written without times"


def test_clips_that_cannot_be_read_or_compared_are_left_out(
    finished: tuple[Path, str], tones: Path, tmp_path: Path
) -> None:
    teacher, entries = loaded(str(finished[0])), manifest.read(tones)
    gone = replace(entries[0], audio=tmp_path / "gone.wav")
    wordless = replace(entries[1], text="...")
    with pytest.warns(UserWarning, match=r"1 clips cannot be read and are left out, e.g. .*gone.wav"):
        labeled = pseudo.pseudo_labeled(teacher, [gone, wordless, *entries[2:]], tmp_path, "basic", 100.0)
    assert [entry.audio for entry in labeled if entry.split == "train"] == [entry.audio for entry in entries[2:10]]


def test_languages_with_a_token_are_requested(
    finished: tuple[Path, str], tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = zoo.load(finished[0] / "best", device="cpu")
    assert isinstance(model, Whisper) and model.tokenizer is not None
    monkeypatch.setattr(model.tokenizer, "languages", {"de": 50_261})
    entries = [entry for entry in manifest.read(tones) if entry.split == "test"]
    entries = [replace(entries[0], lang="de"), *(replace(entry, lang="tlh") for entry in entries[1:])]
    assert languages_of(entries, model) == ["de", *[None] * (len(entries) - 1)]


def test_a_distilled_run(finished: tuple[Path, str], tones: Path, tmp_path: Path) -> None:
    config = replace(
        settings(tones, tmp_path / "small", steps=2),
        init=str(finished[0]),
        tune=WhisperTuneConfig(freeze_encoder=-1),
        distil=DistilConfig(decoder_layers=1),
    )
    run(config)
    assert (tmp_path / "small" / pseudo.FILE).is_file()
    lines = [json.loads(line) for line in (tmp_path / "small" / "metrics.jsonl").read_text().splitlines()]
    assert "kl" in lines[-1]
    with pytest.raises(ConfigError, match=r"set tune.freeze_encoder=-1"):
        run(replace(config, tune=WhisperTuneConfig(), out=str(tmp_path / "other")))


def test_a_stopped_run_ends_in_the_same_weights(tones: Path, tmp_path: Path) -> None:
    """With all random augmentation and dropout."""
    short = {"steps": 6, "save_every": 2, "validate_every": 6}

    def random(out: Path) -> WhisperTrainConfig:
        return replace(
            settings(tones, out, **short),
            windows=WindowConfig(packed=0.5, timestamps=0.5, previous=0.5, no_speech=0.2),
            vocabulary=VocabularyConfig(270, dropout=0.2),
            augment=WhisperAugmentConfig(mel_masks=1, time_masks=1),
            tune=WhisperTuneConfig(ctc=0.3, aux_loss_steps=4, layerdrop=0.2),
        )

    run(random(tmp_path / "whole"))
    accumulate = Transcribe.accumulate

    def stopping(self: Transcribe, batches: Any, backward: Any) -> None:
        if self.step == 3:
            raise TrainingStopped("as if killed")
        accumulate(self, batches, backward)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transcribe, "accumulate", stopping)
        with pytest.raises(TrainingStopped):
            run(random(tmp_path / "broken"))
    run(random(tmp_path / "broken"))
    weights = [(tmp_path / name / "last" / "model.safetensors").read_bytes() for name in ("whole", "broken")]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_two_processes_are_one(tones: Path, tmp_path: Path) -> None:
    options = [
        f"data.sources={tones}",
        "data.batch_seconds=4",
        "data.min_seconds=0.1",
        "train.steps=4",
        "train.batches_per_step=2",
        "train.validate_every=4",
        "train.device=cpu",
        "train.precision=fp32",
        "vocabulary.size=270",
        "windows.packed=0.3",
        "model.audio_ctx=150",
        "model.dim=64",
        "model.heads=2",
        "model.decoder_heads=2",
        "model.encoder_layers=1",
        "model.decoder_layers=1",
        "model.text_ctx=64",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    for name, launcher in (
        ("one", [sys.executable]),
        ("two", [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]),
    ):
        command = [*launcher, "-m", "zoo.recipes.whisper.train", f"out={tmp_path / name}", *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (load_file(tmp_path / name / "last" / "model.safetensors") for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=2e-5)
    reports = [(tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1] for name in ("one", "two")]
    first, second = (json.loads(line) for line in reports)
    assert first["wer"] == second["wer"] and first["loss"] == pytest.approx(second["loss"], rel=1e-4)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_read(path: Path) -> None:
    config = configuration.load(WhisperTrainConfig, [path])
    for i, word in enumerate(("command:", "time:", "result:"), 1):
        assert path.read_text().splitlines()[i].startswith(f"# {word}")
    auxiliary = config.tune.ctc or config.tune.guided_attention_weight
    assert path.stem in ("mini", "real", "natural") or not auxiliary, "published recipes have no auxiliary losses"
    if path.stem in zoo.list_models("*") or f"whisper-{path.stem}" in zoo.list_models("*"):
        card = zoo.info(f"whisper-{path.stem}").config
        assert {key: getattr(config.model, key) for key in card if key not in ("alignment_heads", "vocab_size")} == {
            key: value for key, value in card.items() if key not in ("alignment_heads", "vocab_size")
        }


def test_mini_is_the_default() -> None:
    mini = configuration.load(WhisperTrainConfig, [PRESETS[0].parent / "mini.yaml"])
    assert configuration.to_yaml(mini) == configuration.to_yaml(WhisperTrainConfig())


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["train", f"data.sources={tmp_path / 'none'}"])
    with pytest.raises(SystemExit) as stopped:
        train.main()
    assert stopped.value.code == 1 and "no such folder or file" in capsys.readouterr().err
