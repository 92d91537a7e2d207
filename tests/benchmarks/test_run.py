"""Whole exams on small encoders: what comes out, what goes wrong, and what a rerun does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kill_bench
import pytest
import torch
from dying import kill
from rich.console import Console
from small import small
from synthetic import tones

from zoo.benchmarks import features, runner, speed, table, verbs
from zoo.benchmarks.credits import read_rows
from zoo.benchmarks.items import open_source
from zoo.benchmarks.results import Record, Store
from zoo.benchmarks.subjects import subjects, untrained
from zoo.benchmarks.suite import Source, Suite, Task
from zoo.data import manifest
from zoo.encoder import Encoder
from zoo.errors import AudioError, CheckpointError, ConfigError, MissingDependencyError, ZooError


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return tones(tmp_path / "tones")


def examine(corpus: Path, out: Path, *tasks: Task, models: Any = ("logmel",), **options: Any) -> Store:
    for task in tasks:
        task.data, task.seeds = "tones", 2
    suite = Suite("tones", frames=3, data={"tones": Source(str(corpus))}, tasks=list(tasks))
    options = {"baselines": False, "console": Console(quiet=True), "cache": out / "cache"} | options
    return runner.run(list(models), suite, out, **options)


def only(store: Store) -> Record:
    (record,) = store.records.values()
    return record


def test_an_exam_with_all_baselines(corpus: Path, tmp_path: Path) -> None:
    tasks = [
        Task("pitch", kind="class", target="pitch"),
        Task("height", kind="value", target="height", metric="r2"),
        Task("tags", kind="tags", columns=["pitch"], metric="roc_auc"),
        Task("phones", kind="phones"),
    ]
    store = examine(corpus, tmp_path / "out", *tasks, models=[small("hubert-base", seed=1)], baselines=True)
    found = {(r.subject, r.task): r for r in store.records.values()}
    names = {name for name, _ in found}
    assert names == {"hubert-base", "hubert-base, untrained", "mfcc", "logmel", "chance"} and len(found) == 20
    assert all(r.status == "ok" for r in found.values())
    for task in ("pitch", "phones"):
        record = found["logmel", task]
        assert record.score is not None and record.score > 0.9, "log-mel tells tones an octave apart"
        assert record.low is not None and record.low < record.score and (found["chance", task].score or 1) < 0.7
    assert found["hubert-base", "pitch"].groups == 3
    assert len(found["hubert-base", "pitch"].curves["dev"]) == 4
    rows = (tmp_path / "out" / found["logmel", "pitch"].predictions).read_text().splitlines()
    row = json.loads(rows[0])
    assert len(rows) == 12 and row["truth"] in ("high", "low") and len(row["predicted"]) == 2
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["protocol"] == 1 and len(content["records"]) == 20
    table = (tmp_path / "out" / "results.md").read_text()
    assert all(f"| {name} |" in table for name in names)


def test_a_rerun_computes_nothing_and_changes_nothing(corpus: Path, tmp_path: Path, monkeypatch: Any) -> None:
    task = Task("pitch", kind="class", target="pitch")
    examine(corpus, tmp_path / "out", task)
    before = (tmp_path / "out" / "results.json").read_bytes()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(Encoder, "embed", refuse)
    examine(corpus, tmp_path / "out", task)
    assert (tmp_path / "out" / "results.json").read_bytes() == before
    monkeypatch.setattr("zoo.benchmarks.examine.run_probe", refuse)
    with pytest.raises(AssertionError):  # another task is not in the store, though its features are in the cache
        examine(corpus, tmp_path / "out", Task("pitch", kind="class", target="pitch", balanced=True))


def test_settings_that_come_back_find_their_numbers_and_their_predictions(corpus: Path, tmp_path: Path) -> None:
    plain, balanced = ({"kind": "class", "target": "pitch", "balanced": each} for each in (False, True))
    first = only(examine(corpus, tmp_path / "out", Task("pitch", **plain)))
    said = (tmp_path / "out" / first.predictions).read_bytes()
    examine(corpus, tmp_path / "out", Task("pitch", **balanced))
    store = examine(corpus, tmp_path / "out", Task("pitch", **plain))
    assert (tmp_path / "out" / first.predictions).read_bytes() == said
    assert len({record.predictions for record in store.records.values()}) == 2
    (shown,) = table.latest(store.records.values())
    assert shown.task_key == first.task_key, "the table shows what was asked for last"
    assert Store(tmp_path / "out", "tones").records.keys() == store.records.keys()


def test_killed_at_any_moment_and_run_again_it_gives_the_same_numbers(corpus: Path, tmp_path: Path) -> None:
    moments = ["save:4", "sync:6", "write:2", "robustness:1"]
    assert kill(kill_bench.__file__, [corpus, tmp_path], moments) == [f"{moment} 9" for moment in moments]
    shard, kill_bench.features.SHARD = features.SHARD, 16
    try:
        whole = numbers(kill_bench.run(corpus, tmp_path / "whole"))
        for moment in moments:
            assert numbers(kill_bench.run(corpus, tmp_path / moment)) == whole, moment
    finally:
        features.SHARD = shard


def numbers(store: Store) -> list[Any]:
    return [(r.identity, r.score, r.low, r.high, r.curves, r.seeds) for r in store.records.values()]


# What goes wrong


def change(corpus: Path, **changes: Any) -> None:
    """Give entries (by place) other labels."""
    entries = manifest.read(corpus)
    for place, labels in changes.pop("places").items():
        entries[place].labels.update(labels)
    manifest.write(corpus, entries)


def test_a_test_split_that_is_mostly_broken_gives_no_number(corpus: Path, tmp_path: Path) -> None:
    for place in (57, 58):
        (corpus.parent / f"{place:03d}.wav").write_text("no audio")
    record = only(examine(corpus, tmp_path / "out", Task("pitch", kind="class", target="pitch")))
    assert record.status == "skipped" and record.reason.startswith("2 of 12 clips of test cannot be used, e.g. tones/")


def test_a_package_that_was_missing_is_asked_for_again(corpus: Path, tmp_path: Path, monkeypatch: Any) -> None:
    task = Task("pitch", kind="class", target="pitch")
    with monkeypatch.context() as patch:

        def refuse(*_: Any, **__: Any) -> None:
            raise MissingDependencyError("tones/000.wav: needs PyAV: pip install 'audiozoo[video]'")

        patch.setattr("zoo.benchmarks.features.audio.load", refuse)
        record = only(examine(corpus, tmp_path / "out", task))
        assert record.status == "skipped" and "pip install" in record.reason
    assert only(examine(corpus, tmp_path / "out", task)).status == "ok"


def test_one_speaker_in_test_is_said(corpus: Path, tmp_path: Path) -> None:
    entries = manifest.read(corpus)
    for entry in entries:
        entry.speaker = "s14" if entry.split == "test" else entry.speaker
    manifest.write(corpus, entries)
    examine(corpus, tmp_path / "out", Task("pitch", kind="class", target="pitch"))
    assert "one independent group" in (tmp_path / "out" / "results.md").read_text()


def test_a_broken_clip_is_left_out_and_said_and_many_are_refused(corpus: Path, tmp_path: Path) -> None:
    (corpus.parent / "001.wav").write_text("no audio")
    record = only(examine(corpus, tmp_path / "a", Task("pitch", kind="class", target="pitch")))
    assert record.status == "ok" and "1 of 60 clips could not be used, e.g. tones/001.wav" in record.notes
    for place in range(2, 8):
        (corpus.parent / f"{place:03d}.wav").unlink()
    record = only(examine(corpus, tmp_path / "b", Task("pitch", kind="class", target="pitch")))
    assert record.status == "skipped" and "7 of 60" in record.reason and record.score is None


def test_missing_labels_are_left_out_and_counted(corpus: Path, tmp_path: Path) -> None:
    change(corpus, places={0: {"pitch": None}, 50: {"pitch": None}})
    record = only(examine(corpus, tmp_path / "out", Task("pitch", kind="class", target="pitch")))
    assert "2 of 60 clips have no label and are left out" in record.notes
    assert record.test_items == 11


def test_a_class_that_train_lacks_is_left_out_and_named(corpus: Path, tmp_path: Path) -> None:
    change(corpus, places={59: {"pitch": "piercing"}})
    record = only(examine(corpus, tmp_path / "out", Task("pitch", kind="class", target="pitch")))
    assert any("not in train (piercing)" in note for note in record.notes) and record.test_items == 11


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (Task("t", kind="class", target="one"), "one class"),
        (Task("t", kind="class", target="mood"), "no clip has a column 'mood'"),
        (Task("t", kind="value", target="pitch", metric="r2"), "where a number is needed"),
        (Task("t", kind="class", target="pitch", where={"one": "other"}), "no labelled clips"),
        (Task("t", kind="wer"), "does not transcribe"),
        (Task("t", kind="retrieval"), "does not embed text"),
    ],
)
def test_what_cannot_be_asked_is_skipped_with_its_reason(corpus: Path, tmp_path: Path, task: Task, reason: str) -> None:
    record = only(examine(corpus, tmp_path / "out", task))
    assert record.status == "skipped" and reason in record.reason and record.score is None
    assert "skipped" in (tmp_path / "out" / "results.md").read_text()


@pytest.mark.parametrize(("split", "places"), [("train", range(36)), ("dev", range(36, 48)), ("test", range(48, 60))])
def test_a_split_of_one_class_is_skipped_and_named(corpus: Path, tmp_path: Path, split: str, places: range) -> None:
    change(corpus, places={place: {"pitch": "low", "height": 0.0} for place in places})
    tasks = [
        Task("class", kind="class", target="pitch"),
        Task("tags", kind="tags", columns=["pitch"], metric="roc_auc"),
        Task("value", kind="value", target="height", metric="r2"),
    ]
    store = examine(corpus, tmp_path / "out", *tasks, models=["mfcc"], baselines=True)
    for record in store.records.values():
        if split != "train" or record.task == "class":
            assert record.status == "skipped" and record.score is None, (record.task, record.subject)
    reasons = {record.task: record.reason for record in store.records.values() if record.subject == "mfcc"}
    assert reasons["class"] == f"the {split} split has one class only: low"
    if split != "train":
        assert reasons["value"].startswith(f"r2 is not defined on the {split} split")
        assert reasons["tags"].startswith(f"roc_auc is not defined on the {split} split")


def test_tags_that_train_lacks_are_named_and_numbers_must_be_finite(corpus: Path, tmp_path: Path) -> None:
    change(corpus, places={59: {"pitch": "piercing", "height": "nan"}})
    task = Task("tags", kind="tags", columns=["pitch"], metric="roc_auc")
    record = only(examine(corpus, tmp_path / "out", task))
    assert record.status == "ok" and "1 tags left out: train lacks them (pitch=piercing)" in record.notes
    record = only(examine(corpus, tmp_path / "b", Task("v", kind="value", target="height", metric="r2")))
    assert record.status == "skipped" and "059.wav: height is 'nan', where a number is needed" in record.reason


def test_clips_without_an_answer_are_counted_and_many_broken_ones_refused(corpus: Path) -> None:
    entries = manifest.read(corpus)
    for entry in entries[-2:]:
        entry.text, entry.captions = "", []
    manifest.write(corpus, entries)
    task, parrot = Task("words", "tones", "wer"), Parrot()
    record = Record("words", "wer", "parrot", "model", "", "", "")
    verbs.run(record, task, open_source(Source(str(corpus))), parrot)  # type: ignore[arg-type]
    assert record.test_items == 10 and record.notes == ["2 of 12 clips of test without a transcript are left out"]
    for place in (48, 49):
        (corpus.parent / f"{place:03d}.wav").write_text("no audio")
    with pytest.raises(ConfigError, match=r"2 of 10 clips cannot be used, e\.g\. tones/048\.wav"):
        verbs.run(record, task, open_source(Source(str(corpus))), parrot)  # type: ignore[arg-type]


def test_what_was_skipped_is_asked_again_and_kept_if_nothing_changed(
    corpus: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    task = Task("words", kind="wer")
    examine(corpus, tmp_path / "out", task)
    before = (tmp_path / "out" / "results.json").read_bytes()
    examine(corpus, tmp_path / "out", task)
    assert (tmp_path / "out" / "results.json").read_bytes() == before
    monkeypatch.setattr("zoo.models.spectral.Spectral.transcribe", Parrot.transcribe, raising=False)
    assert only(examine(corpus, tmp_path / "out", task)).status == "ok"


def test_an_encoder_that_gives_no_numbers_is_skipped(corpus: Path, tmp_path: Path) -> None:
    broken = small("hubert-base")
    with torch.no_grad():
        [parameter.fill_(torch.nan) for parameter in broken.parameters()]
    record = only(examine(corpus, tmp_path / "out", Task("pitch", kind="class", target="pitch"), models=[broken]))
    assert record.status == "skipped" and "not finite" in record.reason


def test_a_checkpoint_of_the_wrong_kind_stops_the_run(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"not a model")
    with pytest.raises(CheckpointError):
        examine(corpus, tmp_path / "out", Task("t", kind="class", target="pitch"), models=[tmp_path / "model.pt"])
    assert not (tmp_path / "out" / "results.json").exists()


def test_an_exam_that_nobody_can_sit_is_an_empty_page(corpus: Path, tmp_path: Path) -> None:
    assert not examine(corpus, tmp_path / "out", Task("words", kind="wer"), models=[], baselines=True).records
    assert (tmp_path / "out" / "results.md").read_text().startswith("# tones")


def test_results_of_another_suite_are_not_touched(corpus: Path, tmp_path: Path) -> None:
    examine(corpus, tmp_path / "out", Task("pitch", kind="class", target="pitch"))
    with pytest.raises(ZooError, match="another folder"):
        Store(tmp_path / "out", "other suite")
    (tmp_path / "out" / "results.json").write_text("{")
    with pytest.raises(ZooError, match="damaged"):
        Store(tmp_path / "out", "tones")
    former = {"format": 1, "protocol": 0, "suite": "tones", "records": [{"task": "pitch", "grade": 1}]}
    (tmp_path / "out" / "results.json").write_text(json.dumps(former))
    with pytest.raises(ZooError, match=r"is of protocol 0, and 1 is wanted; .* examine again, into another folder"):
        Store(tmp_path / "out", "tones")


def test_predictions_are_read_whatever_characters_they_hold(tmp_path: Path) -> None:
    record = Record("words", "wer", "parrot", "model", "m", "d", "k", metric="WER, basic", score=0.5)
    rows = [{"item": "a\udcff.wav", "predicted": "one\u2028two\x85three"}, {"item": "b", "predicted": ""}]
    Store(tmp_path, "suite").add(record, rows)
    assert read_rows(tmp_path, record) == rows
    (tmp_path / record.predictions).write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        read_rows(tmp_path, record)
    (tmp_path / record.predictions).unlink()
    with pytest.raises(ConfigError, match="not there; examine again"):
        read_rows(tmp_path, record)


def test_no_name_of_a_task_leads_out_of_the_folder(tmp_path: Path) -> None:
    record = Record("../../" + "long " * 60, "wer", "ы" * 300, "model", "m", "d", "k", score=0.5)
    Store(tmp_path / "out", "suite").add(record, [{"item": "a"}])
    (file,) = (tmp_path / "out" / "predictions").iterdir()
    assert record.predictions == f"predictions/{file.name}"


# The verbs


class Parrot:
    """Transcribes every clip alike."""

    sample_rate = 16_000

    def transcribe(self, waves: Any, sample_rate: int | None = None, **options: Any) -> list[Any]:
        return [type("Transcript", (), {"text": "High tone."}) for _ in waves]


def test_word_errors_of_anything_that_transcribes(corpus: Path) -> None:
    record = Record("words", "wer", "parrot", "model", "", "", "")
    items = open_source(Source(str(corpus)))
    rows = verbs.run(record, Task("words", "tones", "wer"), items, Parrot())  # type: ignore[arg-type]
    wrong = sum(row["truth"] == "low tone" for row in rows)
    assert record.score == pytest.approx(wrong / 24) and record.lower_is_better
    assert record.details["raw"]["wer"] > record.details["basic"]["wer"] == record.score
    assert record.details["basic"]["substitutions"] == wrong


def test_retrieval_and_zero_shot_of_anything_that_embeds_text(corpus: Path, tmp_path: Path) -> None:
    mulan = small("mulan-ast")
    mulan.embed_text = lambda texts: torch.nn.functional.normalize(torch.randn(len(texts), mulan.dim), dim=1)
    tasks = [
        Task("captions", kind="retrieval"),
        Task("names", kind="zero_shot", target="pitch", templates=["{}", "a {} tone"]),
    ]
    store = examine(corpus, tmp_path / "out", *tasks, models=[mulan])
    captions, names = store.records.values()
    assert captions.status == names.status == "ok"
    assert 0 < (captions.score or 0) <= 1 and 0 < captions.details["chance"] < 1
    assert names.details["by template"].keys() == {"{}", "a {} tone"}


def test_vectors_that_are_not_finite_score_nothing(corpus: Path, tmp_path: Path) -> None:
    mulan = small("mulan-ast")
    mulan.embed_text = lambda texts: torch.randn(len(texts), mulan.dim)
    with torch.no_grad():
        [parameter.fill_(torch.nan) for parameter in mulan.parameters()]
    tasks = [Task("captions", kind="retrieval"), Task("names", kind="zero_shot", target="pitch")]
    for record in examine(corpus, tmp_path / "out", *tasks, models=[mulan]).records.values():
        assert record.status == "skipped" and "not finite" in record.reason, record.task


def test_speed_elsewhere_is_another_question(corpus: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("zoo.benchmarks.speed.measure.__kwdefaults__", {"clips": 1, "seconds": 1.0, "rounds": 1})
    examine(corpus, tmp_path / "out", Task("speed", kind="speed"))
    found = speed.Speed(100.0, 90.0, 110.0, 0, 0.0, 0.0)
    monkeypatch.setattr("zoo.benchmarks.speed.measure", lambda encoder: found)
    monkeypatch.setattr("zoo.models.spectral.Spectral.device", torch.device("cuda"))
    here, there = examine(corpus, tmp_path / "out", Task("speed", kind="speed")).records.values()
    assert there.score == 100 != here.score


def test_speed_counts_parameters_and_products(corpus: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("zoo.benchmarks.speed.measure.__kwdefaults__", {"clips": 1, "seconds": 1.0, "rounds": 1})
    model = small("hubert-base")
    record = only(examine(corpus, tmp_path / "out", Task("speed", kind="speed"), models=[model]))
    assert record.details["parameters"] == sum(p.numel() for p in model.parameters())
    assert record.score is not None and record.score > 0 and record.details["gmacs"] > 0.001


def test_speed_of_a_model_whose_window_is_shorter_than_the_clips() -> None:
    model = small("whisper-tiny")
    short, long = (speed.measure(model, clips=1, seconds=seconds, rounds=1) for seconds in (model.window_seconds, 10.0))
    assert model.window_seconds < 10 and long.gmacs == pytest.approx(short.gmacs)


def test_robustness_without_the_predictions_on_clean_clips_is_skipped(
    corpus: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("zoo.models.spectral.Spectral.transcribe", Parrot.transcribe, raising=False)
    words = only(examine(corpus, tmp_path / "out", Task("words", kind="wer")))
    (tmp_path / "out" / words.predictions).unlink()
    tasks = [Task("words", kind="wer"), Task("changed", kind="robustness", of="words", conditions=["pink 10"])]
    _, changed = examine(corpus, tmp_path / "out", *tasks).records.values()
    assert changed.status == "skipped" and "not there" in changed.reason


def test_a_clip_that_a_model_refuses_skips_the_task_and_not_the_run(
    corpus: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AudioError("waveform 3", "too loud")

    monkeypatch.setattr("zoo.models.spectral.Spectral.transcribe", refuse, raising=False)
    tasks = [Task("words", kind="wer"), Task("pitch", kind="class", target="pitch")]
    words, pitch = examine(corpus, tmp_path / "out", *tasks).records.values()
    assert words.status == "skipped" and "too loud" in words.reason and pitch.status == "ok"


# The cache


def test_features_are_those_of_embed_and_follow_the_model(corpus: Path, tmp_path: Path) -> None:
    items, model = open_source(Source(str(corpus))), small("hubert-base")
    found = features.extract(model, items, tmp_path, frames=3)
    places = torch.tensor([40, 3, 17]).numpy()
    expected = model.embed([str(items.items[i].entry.audio) for i in places], layer=2, pooling="stats")
    assert (found.pooled(2, places) - expected).abs().max() < 1e-5
    assert (found.pooled(2, places, "mean") - expected[:, : model.dim]).abs().max() < 1e-5
    time = features.points_of_time(items.items[3], 3)
    frames = model.encode(str(items.items[3].entry.audio), layer=1).x[0]
    middles = (torch.arange(len(frames)) * model.hop + 200) / 16_000
    nearest = (middles[None] - torch.from_numpy(time)[:, None]).abs().argmin(1)
    assert (found.frames(1, places)[1] - frames[nearest]).abs().max() < 0.01, "float16"
    other = features.extract(small("hubert-base", seed=1), items, tmp_path, frames=3)
    assert other.folder != found.folder


def test_a_subject_goes_by_the_name_it_is_given(tmp_path: Path) -> None:
    for folder in ("mine", "night/model", "night/run/best"):
        small("hubert-base", seed=1).save(tmp_path / folder)
    names = [f"round 1={tmp_path / 'mine'}", tmp_path / "mine", tmp_path / "night/model", tmp_path / "night/run/best"]
    found = subjects([*names, "mfcc"], baselines=False)
    assert [subject.name for subject in found] == ["round 1", "mine", "night/model", "night/run/best", "mfcc"]


def test_untrained_is_the_same_architecture_and_reproducible() -> None:
    model = small("hubert-base", seed=1)
    state = torch.get_rng_state()
    first, second = untrained(model), untrained(model)
    assert first is not None and second is not None and first.config == model.config
    assert first.fingerprint() == second.fingerprint() != model.fingerprint()
    assert torch.equal(torch.get_rng_state(), state)
    assert untrained(small("mfcc")) is None
