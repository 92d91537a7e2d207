"""MuLan training: spectrograms, collapse checks, frozen towers, presets, and the whole run on tones."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tones import SIZE, tones_config
from torch import Tensor, nn
from transformers import BertConfig, BertModel

import zoo
from zoo import config as configuration
from zoo.benchmarks import runner
from zoo.benchmarks.compare import compare
from zoo.benchmarks.results import read_records
from zoo.data import manifest
from zoo.data.sampler import Cursor
from zoo.errors import ConfigError, TrainingError
from zoo.models.mulan.model import MuLan
from zoo.nn.losses import Temperature
from zoo.recipes.mulan.collapse import CollapseChecks, mean_cosine
from zoo.recipes.mulan.config import CollapseConfig, EvaluationConfig, Loss, MulanTrainConfig, TowerConfig, ZeroShot
from zoo.recipes.mulan.run import train
from zoo.recipes.mulan.spectra import PairBatch, Spectrograms, pair_loader
from zoo.recipes.mulan.task import Contrast
from zoo.recipes.mulan.texts import Texts
from zoo.train import Output, fit

METRICS = {"R@1", "R@5", "R@10", "MRR", "mAP", "median rank"}
PRESETS = sorted((Path(zoo.recipes.mulan.__file__).parent / "presets").glob("*.yaml"))


def test_windows_are_crops_of_the_spectrogram_stored_or_not(make: Any, tmp_path: Path) -> None:
    task, loader = make()
    config = task.config.data
    entries = loader.dataset.entries
    fresh = Spectrograms(entries, task.model, replace(config, cache_hours=0.0))
    assert fresh.frames == 50 == task.model.mel_frames
    for index, seed in ((0, 3), (5, 4), (5, 5)):
        item, again = loader.dataset.item(index, seed), fresh.item(index, seed)
        assert torch.equal(item.mel, again.mel) and item.start == again.start and item.mel.shape == (50, 32)
        wave = zoo.audio.load(item.entry.audio, 16_000)[item.start : item.start + 49 * 160 + 400]
        torch.testing.assert_close(item.mel.float(), task.model.logmel(wave[None])[0], atol=0.01, rtol=0)
    assert not fresh._mels and len({loader.dataset.item(5, seed).start for seed in range(20)}) > 3
    for _ in range(2):
        stored = Spectrograms(entries, task.model, replace(config, spectra=str(tmp_path / "spectra")))
        assert torch.equal(stored.spectrogram(5), fresh.spectrogram(5))
        (file,) = (tmp_path / "spectra").iterdir()
    other = io.BytesIO()
    np.save(other, np.zeros((9, 9), np.float16))
    for damage in (file.read_bytes()[:100], b"", other.getvalue()):
        file.write_bytes(damage)
        damaged = Spectrograms(entries, task.model, replace(config, spectra=str(tmp_path / "spectra")))
        assert torch.equal(damaged.spectrogram(5), fresh.spectrogram(5))
    batch = loader.batch(Cursor(), [0, 1, 2])
    assert batch.mel.shape == (3, 50, 32) and batch.ids.shape[0] == 3 and batch.lengths.tolist() == [8000] * 3


def backward(output: Output) -> None:
    output.loss.backward()


def learn(task: Contrast, loader: Any, steps: int) -> list[str]:
    """Train for `steps` steps; returns the messages."""
    messages: list[str] = []
    task.say = messages.append
    optimizer = torch.optim.AdamW(task.parameters(), 3e-3)
    for step in loader.steps(Cursor(), 2):
        optimizer.zero_grad()
        task.accumulate(step.batches, backward)
        optimizer.step()
        task.step += 1
        if task.step == steps:
            return messages
    raise AssertionError


class Broken(nn.Module):
    """A front end that always gives silence."""

    window, hop, mels = 400, 160, 32

    def forward(self, waves: Tensor) -> Tensor:
        return torch.full((len(waves), (waves.shape[1] - 400) // 160 + 1, 32), -16.1)


@pytest.mark.slow
def test_a_loss_at_chance_is_reported(make: Any) -> None:
    collapse = CollapseConfig(chance_steps=50)
    task, loader = make(collapse=collapse)
    assert learn(task, loader, 50) == [], "tones are learned"
    task, loader = make(collapse=collapse)
    loader.dataset.logmel = Broken()
    (message,) = learn(task, loader, 50)
    assert (
        "the loss is 3.4" in message
        and "at its chance level 3.4012" in message
        and "All clips have the same embedding" in message
    )
    task, loader = make(collapse=replace(collapse, chance_steps=4, stop_at_chance=True))
    loader.dataset.logmel = Broken()
    with pytest.raises(TrainingError, match=r"after 4 steps the loss is 3.*at its chance level"):
        learn(task, loader, 40)


def test_the_last_batch_of_an_epoch_is_not_smaller(make: Any) -> None:
    task, loader = make()
    data, texts = task.config.data, Texts(task.config.data.text)
    loader = pair_loader(loader.dataset.entries[:17], "train", task.model, texts, data, 0)
    assert sorted(map(len, loader.sampler.plan(0))) == [5, 6, 6]


@pytest.mark.parametrize("same", [None, "word", "absent"])
def test_dev_and_evaluation_have_the_same_relevant_clips(make: Any, tones: Path, same: str | None) -> None:
    """Every caption of the dev set belongs to two clips, which a perfect model cannot distinguish."""
    task, _ = make(evaluation=EvaluationConfig(same=same))
    data, texts = task.config.data, Texts(task.config.data.text)
    dev = pair_loader(manifest.read(tones), "dev", task.model, texts, data, 0)
    words = sorted({entry.labels["word"] for entry in dev.dataset.entries})

    def perfect(batch: PairBatch) -> tuple[Tensor, Tensor]:
        x = torch.eye(len(words))[[words.index(entry.labels["word"]) for entry in batch.entries]]
        return x, x

    task.embed = perfect
    with torch.no_grad():
        assert task.eval().validate(dev)["mrr"] == 1.0


def test_a_single_pair_is_no_error(make: Any) -> None:
    task, loader = make(loss=Loss.infonce)
    task.accumulate([loader.batch(Cursor(), [0])], backward)
    assert float(task.collapse.progress) == 0


def test_warnings_come_at_doubling_intervals_and_survive_resuming() -> None:
    messages: list[str] = []
    sample = torch.eye(4), torch.eye(4)
    checks = CollapseChecks(CollapseConfig(chance_steps=3))
    for step in range(1, 8):
        checks.update(step, torch.tensor(2.0), 2.0, sample, messages.append)
    resumed = CollapseChecks(CollapseConfig(chance_steps=3))
    resumed.load_state_dict(checks.state_dict())
    for step in range(8, 28):
        resumed.update(step, torch.tensor(2.0), 2.0, sample, messages.append)
    assert [message.split("after ")[1].split()[0] for message in messages] == ["3", "6", "12", "24"]


def test_collapse_and_bounds_of_the_temperature_are_reported() -> None:
    torch.manual_seed(0)
    messages: list[str] = []
    checks = CollapseChecks(CollapseConfig(chance_steps=1))
    good = nn.functional.normalize(torch.randn(50, 16), dim=1)
    checks.update(1, torch.tensor(0.1), 2.0, (good, good), messages.append)
    metrics = checks.validation(1, good, good, Temperature(0.1), messages.append)
    assert not messages and metrics["audio_rank"] > 10 and abs(metrics["text_cosine"]) < 0.1
    line = nn.functional.normalize(torch.ones(50, 16) + 0.01 * torch.randn(50, 16), dim=1)
    checks.validation(1, line, good, Temperature(1.0), messages.append)
    checks.validation(1, good, good, Temperature(1e-3), messages.append)
    starts = [
        "audio embeddings have collapsed: ",
        "the temperature 1 is at its upper",
        "the temperature 0.001 is at its",
    ]
    assert len(messages) == len(starts)
    assert all(message.startswith(f"WARNING: {start}") for message, start in zip(messages, starts, strict=True))
    assert mean_cosine(good) == pytest.approx(float((good @ good.T).sum() - 50) / (50 * 49), abs=1e-5)


def test_towers_stay_frozen_for_their_steps(make: Any, tmp_path: Path) -> None:
    heads = {"audio_projection", "text_projection", "temperature"}
    for steps, expected in ((2, heads), (3, {*heads, "text"})):
        task, loader = make(audio=TowerConfig(frozen_steps=-1), text=TowerConfig(frozen_steps=2, learning_rate=0.5))
        before = {name: value.clone() for name, value in task.model.state_dict().items()}
        fit(task, loader, None, replace(task.config.train, steps=steps, warmup=0.0, final=1.0), tmp_path / str(steps))
        current = task.model.state_dict()
        changed = {name.split(".")[0] for name, value in before.items() if not torch.equal(value, current[name])}
        assert changed == expected, "the audio tower keeps its running averages too"


def test_towers_start_from_foreign_weights(make: Any, tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "deep", "tone", "."]
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    theirs = BertModel(config)
    theirs.save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(words) + "\n")
    model = zoo.models.mulan.model.MulanConfig(**SIZE, vocab_size=len(words))
    task, loader = make(text=TowerConfig(init=str(tmp_path / "bert")), model=model)
    torch.testing.assert_close(task.model.text.words.weight, theirs.embeddings.word_embeddings.weight)
    assert len(task.model.tokenizer) == len(words) and task.model.provenance["text_tower"] == str(tmp_path / "bert")
    task.accumulate([loader.batch(Cursor(), part) for part in ([0, 1, 2], [3, 4])], backward)
    assert task.model.text.words.weight.grad is not None
    with pytest.raises(ConfigError, match="vocab_size=99: the weights were made for 9"):
        make(text=TowerConfig(init=str(tmp_path / "bert")), model=replace(model, vocab_size=99))


def test_training_starts_from_a_whole_model(make: Any, tmp_path: Path) -> None:
    task, _ = make()
    task.model.save(tmp_path / "mulan")
    again, _ = make("ast", init=str(tmp_path / "mulan"), model=zoo.models.mulan.model.MulanConfig())
    assert again.model.config == task.model.config and again.model.provenance["init"] == str(tmp_path / "mulan")
    torch.testing.assert_close(dict(again.model.state_dict()), dict(task.model.state_dict()))
    assert again.model.tokenizer.fingerprint() == task.model.tokenizer.fingerprint()
    zoo.create("hubert-base", layers=1).save(tmp_path / "hubert")
    with pytest.raises(ConfigError, match="this is a hubert model; give a MuLan"):
        make(init=str(tmp_path / "hubert"))
    (tmp_path / "mulan" / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match=r"mulan: has no tokenizer; put its tokenizer.json"):
        make(init=str(tmp_path / "mulan"))
    with pytest.raises(ConfigError, match=r"init 'nowhere': no such model, folder or file; `zoo list`"):
        make(init="nowhere")
    with pytest.raises(ConfigError, match=r"set audio\.init"):
        MulanTrainConfig(init="mulan", tokenizer="vocab.txt")


def test_a_whole_run_learns_and_a_rerun_only_reads(make: Any, tones: Path, tmp_path: Path) -> None:
    config = tones_config(tones, tmp_path / "run", steps=60, validate_every=30, save_every=30)
    line = train(config)
    model = zoo.load(tmp_path / "run" / "best")
    assert isinstance(model, MuLan) and model.tokenizer is not None and model.provenance["loss"] == "multiview"
    folder = tmp_path / "run" / "evaluation"
    records = {(r.task, r.model): r for r in read_records(folder / "results.json")}
    mrr = records["text to music", "mulan-run"]
    assert mrr.details["metrics"]["MRR"]["chance"] < mrr.low <= mrr.score <= mrr.high
    zero_shot = records["zero-shot word", "mulan-run"]
    assert zero_shot.score >= 0.25, "twice chance"
    assert set(zero_shot.details["by template"]) == {"{}", "A {} tone."}
    for name in ("mulan-run", "before training", "mulan-run, ridge on log-mel"):
        assert set(records["music to text", name].details["metrics"]) == METRICS
    for name in ("mulan-run", "before training", "logmel", "chance"):
        assert ("probe word", name) in records
    assert mrr.score > records["text to music", "before training"].score
    assert (folder / "results.md").read_text() in line and "difference to the best" in line
    assert (folder / "report.html").is_file()
    weights = (tmp_path / "run" / "best" / "model.safetensors").read_bytes()
    assert train(config) == line
    assert (tmp_path / "run" / "best" / "model.safetensors").read_bytes() == weights
    with pytest.raises(ConfigError, match="loss"):
        train(replace(config, loss=Loss.infonce))
    more = train(replace(config, evaluation=replace(config.evaluation, zero_shot=[ZeroShot("piece")])))
    assert "zero-shot piece" in more and "zero-shot piece" not in line, (
        "a finished run is evaluated with other settings"
    )
    model.name = "other"
    runner.run([model], folder / "suite.yaml", tmp_path / "other", baselines=False)  # as zoo bench run --suite
    compared = {each.task: each for each in compare([folder, tmp_path / "other"])}
    assert {"mulan-run", "other"} <= {each.record.model for each in compared["text to music"].models}
    task, _ = make(init=str(tmp_path / "run"))
    torch.testing.assert_close(dict(task.model.state_dict()), dict(model.state_dict()))


def test_missing_parts_of_the_evaluation_are_reported_before_training(
    tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tones_config(tones, tmp_path / "run", steps=1)
    train(replace(config, evaluation=replace(config.evaluation, zero_shot=[ZeroShot("mood")], probes=["mood", "word"])))
    output = capsys.readouterr().err.partition("train 1/1")[0]
    assert "test clips have no column mood: the evaluation leaves out" in output and "column mood, word" not in output
    entries = [entry for entry in manifest.read(tones) if entry.split != "test"]
    manifest.write(tmp_path / "untested.jsonl", entries)
    config = tones_config(tmp_path / "untested.jsonl", tmp_path / "other", steps=1)
    assert train(config).endswith("the best of 1 steps by retrieval on dev")
    assert "has 0 test clips with text: there will be no evaluation" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"evaluation.zero_shot word: template 'A tone' has no \{\}"):
        ZeroShot("word", ["{}", "A tone"])


def test_an_item_with_a_bad_loss_is_found(make: Any) -> None:
    task, loader = make()
    batch: PairBatch = loader.batch(Cursor(), [0, 1, 2])
    assert torch.isfinite(task.run(batch.only(1)).loss)
    batch.mel[1, 3] = math.nan
    assert [bool(torch.isfinite(task.run(batch.only(i)).loss)) for i in range(3)] == [True, False, True]


def test_a_failed_evaluation_keeps_the_model(tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = manifest.read(tones)
    lost = [replace(entry, audio=tmp_path / "gone.wav") if entry.split == "test" else entry for entry in entries]
    manifest.write(tmp_path / "lost.jsonl", lost)
    same = [replace(entry, captions=["A tone."], labels={}) for entry in entries]
    manifest.write(tmp_path / "same.jsonl", same)
    leaking = [*entries, replace(entries[0], split="test")]
    manifest.write(tmp_path / "leaking.jsonl", leaking)
    for name, reason in (
        ("lost", "no evaluation: nothing was evaluated: text to music: 16 of 16 clips cannot be used"),
        ("leaking", "no evaluation: data 'clips': 1 recordings are in more than one split"),
        ("same", "ridge on log-mel: text to music: skipped: the value to predict is the same for all items of train"),
    ):
        output = train(tones_config(tmp_path / f"{name}.jsonl", tmp_path / name, steps=2, validate_every=2))
        output += capsys.readouterr().err
        assert "best of 2 steps" in output and reason in " ".join(output.split()), name
        assert (tmp_path / name / "best" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "override",
    [
        *("collapse.chance_steps=0", "evaluation.train_clips=0", "augment.freq_masks=-1"),
        *("data.max_seconds=0.001", "audio.learning_rate=-1", "temperature_rate=-1"),
    ],
)
def test_impossible_numbers_are_refused_before_training(override: str) -> None:
    with pytest.raises(ConfigError, match=override.partition("=")[0].rpartition(".")[2]):
        configuration.load(MulanTrainConfig, [], [override])


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_valid_and_states_its_cost(preset: Path) -> None:
    opening = preset.read_text().splitlines()[:6]
    for word in ("command:", "time:", "result:"):
        assert any(line.startswith(f"# {word}") for line in opening), f"{preset} opens with {word}"
    config = configuration.load(MulanTrainConfig, [preset])
    with torch.device("meta"):
        zoo.registry.build("mulan", vars(config.model))
