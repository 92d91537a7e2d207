"""CTC fine-tuning: what is learnt from, what is frozen, that it learns and resumes, and the model it leaves."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from small import SMALL, noise

import zoo
from zoo import config as configuration
from zoo.data import manifest
from zoo.data.dataset import Item
from zoo.data.loader import DataConfig
from zoo.data.manifest import Entry
from zoo.errors import ConfigError, TrainingStopped
from zoo.models.ctc import Alphabet
from zoo.models.hubert import HuBERT
from zoo.recipes.hubert import ctc_data, ctc_run, finetune
from zoo.recipes.hubert.config import AugmentConfig, MaskConfig
from zoo.recipes.hubert.ctc_config import FinetuneConfig, TuneConfig
from zoo.recipes.hubert.ctc_model import with_head
from zoo.recipes.hubert.ctc_task import CtcTask, frames_needed
from zoo.recipes.hubert.init import pretrained
from zoo.train import Schedule, TrainConfig

RECIPES = Path(__file__).parents[2] / "recipes" / "hubert"
TINY = SMALL["hubert"] | {"frontend": "logmel", "layers": 2, "norm_first": True}
NO_MASKS = TuneConfig(
    freeze_steps=0,
    dropout=0.0,
    activation_dropout=0.0,
    time_mask=MaskConfig(0.0, 5, 0),
    channel_mask=MaskConfig(0.0, 8, 0),
)
WORDS = ("ba", "abba", "cab", "ab cab", "ba ba")


def tone(letter: str) -> torch.Tensor:
    """A letter of the test language: 120 ms of its own pitch, and 40 ms of silence."""
    pitch = {"a": 300.0, "b": 900.0, "c": 2000.0, " ": 0.0}[letter]
    wave = 0.3 * torch.sin(2 * math.pi * pitch * torch.arange(1920) / 16_000)
    return torch.cat([wave, torch.zeros(640)])


def write_words(folder: Path, count: int = 10) -> Path:
    """A manifest of clips that spell WORDS in tones, in the three splits."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for split in ("train", "dev", "test"):
        for i in range(count if split == "train" else 3):
            text = WORDS[i % len(WORDS)]
            wave = torch.cat([tone(letter) for letter in f" {text} "])
            wave = wave + 0.01 * noise(len(wave) / 16_000, seed=i)
            path = folder / f"{split}-{i}.wav"
            soundfile.write(path, wave.numpy(), 16_000)
            entries.append(
                Entry(path, len(wave) / 16_000, split, text=f"{text.capitalize()}!", speaker=f"{split}{i}", lang="en")
            )
    manifest.write(folder / "manifest.jsonl", entries)
    return folder / "manifest.jsonl"


def fresh(**overrides: Any) -> HuBERT:
    torch.manual_seed(0)
    model = zoo.create("hubert-base", **TINY | overrides)
    assert isinstance(model, HuBERT)
    return model


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_words(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as pre-training leaves it."""
    folder = tmp_path_factory.mktemp("mini")
    fresh(units=(7,)).save(folder / "model")
    return folder


def settings(words: Path, start: Path, out: Path, **train: Any) -> FinetuneConfig:
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
    return FinetuneConfig(
        out=str(out),
        name="tones",
        init=str(start),
        data=DataConfig(source=str(words), batch_seconds=30.0, min_seconds=0.1),
        tune=replace(NO_MASKS, freeze_steps=5),
        train=TrainConfig(**options | train),
    )


def task_and_batch(tune: TuneConfig = NO_MASKS, clips: int = 3) -> tuple[CtcTask, ctc_data.TextBatch]:
    alphabet = Alphabet.of(WORDS)
    torch.manual_seed(0)
    model = with_head(fresh(), alphabet.symbols, tune)
    entries = [Entry(Path(f"{i}.wav"), 1.0, "train", text=WORDS[i]) for i in range(clips)]
    items = [Item(noise(1.2 - 0.2 * i, seed=i), i, entries[i], 0, 100 + i) for i in range(clips)]
    return CtcTask(model, tune), ctc_data.Collate(model, alphabet, tune, AugmentConfig())(items)


@pytest.fixture(scope="module")
def finished(words: Path, start: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("run")
    return out, ctc_run.finetune(settings(words, start, out))


def test_ten_utterances_are_learnt_by_heart(finished: tuple[Path, str], words: Path) -> None:
    out, line = finished
    model = zoo.load(out / "last", device="cpu")  # best on dev may be from before all of train was learnt
    entries = [entry for entry in manifest.read(words) if entry.split == "train"]
    heard = model.transcribe([str(entry.audio) for entry in entries], word_timestamps=True)
    assert [t.text for t in heard] == [(e.text or "").lower().rstrip("!") for e in entries]
    assert all(t.language == "en" for t in heard)
    for transcript, entry in zip(heard, entries, strict=True):
        assert all(0 <= w.start < w.end <= entry.duration for w in transcript.words)
    assert "WER 0.0%" in line and json.loads((out / "test.json").read_text())["clips"] == 3
    assert (out / "test.tsv").read_text().splitlines()[1].split("\t")[2:] == ["ba", "ba"]


def test_the_log_shows_transcripts_and_blanks(finished: tuple[Path, str]) -> None:
    out, _ = finished
    assert "'ba' -> 'ba'" in (out / "log.txt").read_text()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    dev = [line for line in lines if line["split"] == "dev"]
    assert dev[-1]["wer"] == dev[-1]["cer"] == 0.0 and 0.1 < dev[-1]["blank"] < 0.95
    assert all("blank" in line for line in lines)


def test_the_model_remembers_where_it_comes_from(finished: tuple[Path, str], start: Path) -> None:
    model = zoo.load(finished[0] / "best", device="cpu")
    assert model.name == "tones" and model.config.units == () and model.head is None
    assert model.provenance["init_fingerprint"] == zoo.load(start / "model", device="cpu").fingerprint()
    assert model.provenance["normalise"] == "basic"


def test_an_exam_goes_on_without_what_cannot_be_read(finished: tuple[Path, str], words: Path, tmp_path: Path) -> None:
    entries = manifest.read(words)[:3]
    gone = replace(entries[0], audio=tmp_path / "gone.wav")
    with pytest.warns(UserWarning, match=r"gone.wav"):
        line = ctc_run.examine(finished[0] / "best", [gone, *entries], "basic", tmp_path)
    assert line == ctc_run.examine(finished[0] / "best", entries, "basic", tmp_path) and "3 clips" in line
    with pytest.warns(UserWarning), pytest.raises(ConfigError, match=r"none of the 1 clips of the test split"):
        ctc_run.examine(finished[0] / "best", [gone], "basic", tmp_path)


def test_the_interval_of_one_speaker_is_over_clips(finished: tuple[Path, str], words: Path, tmp_path: Path) -> None:
    entries = [replace(entry, text=f"{entry.text} x") for entry in manifest.read(words) if entry.split == "test"]
    entries[0].text = "x"
    alone = [replace(entry, speaker="ann") for entry in entries]
    nameless = [replace(entry, speaker=None) for entry in entries]
    for chosen in (alone, nameless):
        assert "over clips)" in ctc_run.examine(finished[0] / "best", chosen, "basic", tmp_path)
        low, high = json.loads((tmp_path / "test.json").read_text())["interval"]
        assert low < high
    assert all(line.split("\t")[1] == "" for line in (tmp_path / "test.tsv").read_text().splitlines()[1:])
    assert "over 3 speakers)" in ctc_run.examine(finished[0] / "best", entries, "basic", tmp_path)


def test_a_stopped_run_ends_in_the_same_weights(words: Path, start: Path, tmp_path: Path) -> None:
    """Stopped while the encoder is frozen, and once more after that."""
    short = {"steps": 12, "save_every": 3, "validate_every": 12}
    ctc_run.finetune(settings(words, start, tmp_path / "whole", **short))
    broken = settings(words, start, tmp_path / "broken", **short)
    for last in (3, 8):
        with pytest.MonkeyPatch.context() as patch:
            taken = CtcTask.accumulate

            def stopping(self: CtcTask, batches: Any, backward: Any, last: int = last, taken: Any = taken) -> None:
                if int(self.taken) == last:
                    raise TrainingStopped("as if killed")
                taken(self, batches, backward)

            patch.setattr(CtcTask, "accumulate", stopping)
            with pytest.raises(TrainingStopped):
                ctc_run.finetune(broken)
    ctc_run.finetune(broken)
    weights = [(tmp_path / run / "last" / "model.safetensors").read_bytes() for run in ("whole", "broken")]
    assert weights[0] == weights[1]


def test_other_transcripts_are_other_data(words: Path, start: Path, tmp_path: Path) -> None:
    entries = manifest.read(words)
    path, record = tmp_path / "words.jsonl", tmp_path / "run" / "env.json"
    config = settings(path, start, tmp_path / "run", steps=1)
    for split, what in (("train", "training"), ("dev", "dev")):
        manifest.write(path, entries)
        ctc_run.finetune(config)
        changed = next(i for i, entry in enumerate(entries) if entry.split == split)
        manifest.write(path, [replace(e, text="abba") if i == changed else e for i, e in enumerate(entries)])
        with pytest.raises(ConfigError, match=f"the {what} data"):
            ctc_run.finetune(config)
    manifest.write(path, entries)
    found = json.loads(record.read_text())
    record.write_text(json.dumps(found | {"data": found["data"].partition("-")[0]}))
    ctc_run.finetune(config)
    assert json.loads(record.read_text())["data"] == found["data"], "runs from before texts were recorded go on"


def test_the_head_learns_alone_and_the_front_end_never() -> None:
    task, batch = task_and_batch(replace(NO_MASKS, freeze_steps=1))
    task.train()
    learning = []
    for _ in range(2):
        task.zero_grad()
        task.accumulate([batch], lambda output: output.loss.backward())
        learning.append({name for name, p in task.model.named_parameters() if p.grad is not None and p.grad.any()})
    assert learning[0] == {"ctc.weight", "ctc.bias"}
    assert {"ctc.weight", "transformer.blocks.0.ffn.up.weight", "projection.linear.weight"} < learning[1]
    assert not any(name.startswith("frontend.") for name in learning[1])
    open_task, batch = task_and_batch(replace(NO_MASKS, train_frontend=True))
    open_task(batch).loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in open_task.model.frontend.parameters())


def test_loss_of_a_clip_does_not_depend_on_its_batch() -> None:
    task, batch = task_and_batch(TuneConfig(freeze_steps=0, dropout=0.0, activation_dropout=0.0), clips=3)
    task.train()
    whole = task(batch)
    alone = [task(batch.only(b)) for b in range(3)]
    assert float(whole.loss.detach()) == pytest.approx(sum(float(o.loss.detach()) for o in alone), rel=1e-5)
    assert float(whole.count) == sum(float(o.count) for o in alone) == sum(len(text) for text in WORDS[:3])


def test_masks_come_from_the_seeds_of_the_items() -> None:
    tune = TuneConfig(time_mask=MaskConfig(0.1, 5, 1), channel_mask=MaskConfig(0.05, 8, 1))
    (_, first), (_, again) = task_and_batch(tune), task_and_batch(tune)
    assert torch.equal(first.masked, again.masked) and torch.equal(first.masked_channels, again.masked_channels)
    assert first.masked.any() and first.masked_channels.any() and not first.masked_channels.all()
    assert not torch.equal(first.masked_channels[0], first.masked_channels[1])
    task, _ = task_and_batch(tune)
    task.train()
    masked = float(task(first).loss.detach())
    task.eval()
    assert float(task(first).loss.detach()) != masked, "masks belong to training"


def test_masked_channels_are_zero_in_all_frames() -> None:
    task, batch = task_and_batch()
    model = task.model.eval()
    channels = torch.zeros(3, model.dim, dtype=torch.bool)
    channels[:, 5:9] = True
    seen: list[torch.Tensor] = []
    model.position.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.contextualise(model.frontend(batch.waves, batch.lengths), batch.lengths, masked_channels=channels)
    assert not seen[0][..., 5:9].any() and seen[0][0, :, 9:].any()


def test_text_that_does_not_fit_costs_nothing() -> None:
    task, batch = task_and_batch()
    batch.labels = torch.full((3, 90), 2)
    batch.label_lengths = torch.tensor([90, 90, 90])
    output = task.train()(batch)
    output.loss.backward()
    assert float(output.loss.detach()) == 0.0
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in task.parameters())


def test_a_clip_without_a_loss_does_not_count() -> None:
    task, batch = task_and_batch()
    alone = [task.eval()(batch.only(b)).loss.detach() for b in range(3)]
    batch.labels = torch.cat([batch.labels, torch.full((3, 80), 2)], dim=1)
    batch.label_lengths[1] = 60
    batch.labels[1, :60] = 2  # with a blank between equal neighbours, 119 frames
    output = task(batch)
    assert float(output.count) == len(WORDS[0]) + len(WORDS[2])
    assert float(output.loss.detach()) == pytest.approx(float(alone[0] + alone[2]), rel=1e-5)


@pytest.mark.parametrize(("labels", "needed"), [([2, 3, 2], 3), ([2, 2, 2], 5), ([2, 0, 0], 1), ([], 0)])
def test_frames_that_labels_need(labels: list[int], needed: int) -> None:
    length = len([label for label in labels if label])
    assert frames_needed(torch.tensor([labels]).long(), torch.tensor([length])).tolist() == [needed]


def test_no_clip_is_played_too_fast_for_its_text() -> None:
    text = "abc" * 13
    alphabet = Alphabet.of([text])
    model = with_head(fresh(), alphabet.symbols, NO_MASKS)
    items = [Item(noise(1.0, seed=i), i, Entry(Path("a.wav"), 1.0, "train", text=text), 0, i) for i in range(30)]
    assert len(text) < model.count_frames(16_000) < len(text) * 1.2
    batch = ctc_data.Collate(model, alphabet, NO_MASKS, AugmentConfig(speed=0.5))(items)
    frames = [model.count_frames(int(length)) for length in batch.lengths]
    assert min(frames) >= len(text) and max(frames) > len(text) * 1.5, "slower ones stay"


def test_a_model_that_says_nothing_is_reported() -> None:
    task, batch = task_and_batch()
    said: list[str] = []
    task.say = said.append
    with torch.no_grad():
        task.model.ctc.bias[0] = 50.0
    task.eval()
    metrics = task.validate([batch])
    assert metrics["blank"] == 1.0 and metrics["empty"] == 1.0 and metrics["wer"] == 1.0
    assert any("100.0% of the frames are blank" in line and "learning_rate" in line for line in said)
    with torch.no_grad():
        task.model.ctc.bias[:2] = torch.tensor([-50.0, 50.0])
    said.clear()
    task.validate([batch])
    assert not any("blank" in line for line in said)


def test_clips_that_cannot_be_learnt_from_are_left_out() -> None:
    entries = [
        Entry(Path("a.wav"), 2.0, "train", text="It's  FINE."),
        Entry(Path("b.wav"), 2.0, "train"),
        Entry(Path("c.wav"), 0.1, "train", text="short"),
        Entry(Path("d.wav"), 99.0, "train", text="long"),
        Entry(Path("e.wav"), 0.5, "train", text="so much said in half a second"),
        Entry(Path("f.wav"), 2.0, "dev", text="xylophone"),
    ]
    said: list[str] = []
    kept, alphabet = ctc_data.usable(entries, DataConfig(source="here"), "basic", fresh(), said.append)
    assert [entry.audio.name for entry in kept] == ["a.wav", "f.wav"] and kept[0].text == "it s fine"
    assert alphabet.symbols == ("<blank>", "|", *"efinst"), "the alphabet is that of the training set"
    assert said == [
        "here: 2 of 6 clips are used; left out: 1 without text, 1 too short, 1 too long, 1 more characters than frames"
    ]
    with pytest.raises(ConfigError, match=r'no clip of split "train" can be used \(1 without text\)'):
        ctc_data.usable(entries[1:2], DataConfig(source="here"), "basic", fresh(), said.append)


def test_models_that_cannot_be_tuned(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such model.*python -m zoo\.recipes\.hubert\.train"):
        pretrained(str(tmp_path / "none"))
    (tmp_path / "begun" / "checkpoints").mkdir(parents=True)
    with pytest.raises(ConfigError, match="no model yet"):
        pretrained(str(tmp_path / "begun"))
    zoo.create("logmel").save(tmp_path / "spectral")
    with pytest.raises(ConfigError, match="is a spectral"):
        pretrained(str(tmp_path / "spectral"))


def test_a_head_that_knows_all_characters_is_kept() -> None:
    symbols = Alphabet.of(WORDS).symbols
    known = fresh(vocabulary=symbols, units=(9,))
    said: list[str] = []
    for vocabulary in (symbols, symbols[:-1], (*symbols[:2], *reversed(symbols[2:]))):
        made = with_head(known, vocabulary, NO_MASKS, said.append)
        assert made.config.vocabulary == symbols and made.quantizer is None and made.head is None
        for name, value in made.state_dict().items():
            assert torch.equal(value, known.state_dict()[name]), name
    assert said[1] == "the CTC head of init is kept: its 5 symbols hold all 4 of the data"
    assert with_head(known, symbols, TuneConfig(layerdrop=0.3)).transformer.layerdrop == 0.3


def test_new_characters_get_rows_beside_those_that_are_known() -> None:
    known = fresh(vocabulary=("<pad>", "<unk>", " ", "b", "a", "z"))
    torch.nn.init.normal_(known.ctc.bias)
    said: list[str] = []
    made = with_head(known, ("<blank>", "|", "a", "b", "c"), NO_MASKS, said.append)
    assert made.config.vocabulary == ("<blank>", "|", "a", "b", "c")
    for head in ("weight", "bias"):
        rows, before = getattr(made.ctc, head), getattr(known.ctc, head)
        assert torch.equal(rows[:4], before[[0, 2, 4, 3]]) and not any(torch.equal(rows[4], row) for row in before)
    assert said == ["the CTC head has rows of init for 3 of 4 symbols; fresh: c"]
    untaught = fresh()
    torch.manual_seed(1)
    plain = with_head(untaught, ("<blank>", "|", "x"), NO_MASKS, said.append)
    torch.manual_seed(1)
    other = with_head(known, ("<blank>", "|", "x"), NO_MASKS, said.append)
    assert torch.equal(other.ctc.weight, plain.ctc.weight), "a blank and a boundary alone are no start"
    assert said[1:] == ["the CTC head of init is replaced: of the characters of the data it knows none (x ...)"]


def test_a_finetuned_model_is_tuned_further(finished: tuple[Path, str], words: Path, tmp_path: Path) -> None:
    """On texts that lack some of its characters it spells on as before."""
    entries = [entry for entry in manifest.read(words) if "c" not in (entry.text or "").lower()]
    manifest.write(tmp_path / "few.jsonl", entries)
    config = settings(tmp_path / "few.jsonl", finished[0] / "best", tmp_path / "run", steps=1, learning_rate=1e-9)
    assert "WER 0.0%" in ctc_run.finetune(config)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("finetune*.yaml")), ids=lambda path: path.stem)
def test_every_preset_is_read(path: Path) -> None:
    config = configuration.load(FinetuneConfig, [path])
    for place, word in enumerate(("command:", "time:", "result:"), 1):
        assert path.read_text().splitlines()[place].startswith(f"# {word}")
    assert config.train.schedule == Schedule.tri_stage


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["finetune", f"init={tmp_path / 'none'}"])
    with pytest.raises(SystemExit) as stopped:
        finetune.main()
    assert stopped.value.code == 1 and "zoo.recipes.hubert.train" in capsys.readouterr().err


def test_clips_are_changed_and_their_texts_are_not() -> None:
    alphabet = Alphabet.of(WORDS)
    model = with_head(fresh(), alphabet.symbols, NO_MASKS)
    items = [
        Item(noise(1.0, seed=i), i, Entry(Path(f"{i}.wav"), 1.0, "train", text=WORDS[i % 3]), 0, i) for i in range(9)
    ]
    plain, changed = (
        ctc_data.Collate(model, alphabet, NO_MASKS, AugmentConfig(speed=speed))(items) for speed in (0.0, 0.2)
    )
    assert len(set(changed.lengths.tolist())) > 3 and len(set(plain.lengths.tolist())) == 1
    assert torch.equal(changed.labels, plain.labels)
    assert changed.masked.shape[1] == model.count_frames(changed.waves.shape[1])
