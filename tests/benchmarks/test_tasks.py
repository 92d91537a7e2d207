"""Single tasks: missing clips and labels, tasks that cannot be run, and capabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small import small
from tone_tasks import Parrot, evaluate, only

from zoo.benchmarks import speed, tasks
from zoo.benchmarks.item_scores import read_rows
from zoo.benchmarks.items import open_source
from zoo.benchmarks.suite import SuiteSource, SuiteTask
from zoo.data import manifest
from zoo.errors import ConfigError


def change(corpus: Path, **changes: Any) -> None:
    """Change labels of entries, by index."""
    entries = manifest.read(corpus)
    for index, labels in changes.pop("indices").items():
        entries[index].labels.update(labels)
    manifest.write(corpus, entries)


def test_a_test_split_that_is_mostly_broken_gives_no_number(corpus: Path, tmp_path: Path) -> None:
    for index in (57, 58):
        (corpus.parent / f"{index:03d}.wav").write_text("no audio")
    record = only(evaluate(corpus, tmp_path / "out", SuiteTask("pitch", kind="class", target="pitch")))
    assert record.status == "skipped" and record.reason.startswith("2 of 12 clips of test cannot be used, e.g. tones/")


def test_one_speaker_in_test_gives_a_note(corpus: Path, tmp_path: Path) -> None:
    entries = manifest.read(corpus)
    for entry in entries:
        entry.speaker = "s14" if entry.split == "test" else entry.speaker
    manifest.write(corpus, entries)
    evaluate(corpus, tmp_path / "out", SuiteTask("pitch", kind="class", target="pitch"))
    assert "one independent group" in (tmp_path / "out" / "results.md").read_text()


def test_a_broken_clip_is_left_out_with_a_note_and_many_skip_the_task(corpus: Path, tmp_path: Path) -> None:
    (corpus.parent / "001.wav").write_text("no audio")
    record = only(evaluate(corpus, tmp_path / "a", SuiteTask("pitch", kind="class", target="pitch")))
    assert record.status == "ok" and "1 of 60 clips could not be used, e.g. tones/001.wav" in record.notes
    for index in range(2, 8):
        (corpus.parent / f"{index:03d}.wav").unlink()
    record = only(evaluate(corpus, tmp_path / "b", SuiteTask("pitch", kind="class", target="pitch")))
    assert record.status == "skipped" and "7 of 60" in record.reason and record.score is None


def test_missing_labels_are_left_out_and_counted(corpus: Path, tmp_path: Path) -> None:
    change(corpus, indices={0: {"pitch": None}, 50: {"pitch": None}})
    record = only(evaluate(corpus, tmp_path / "out", SuiteTask("pitch", kind="class", target="pitch")))
    assert "2 of 60 clips have no label and are left out" in record.notes
    assert record.test_items == 11


def test_a_class_that_train_lacks_is_left_out_and_named(corpus: Path, tmp_path: Path) -> None:
    change(corpus, indices={59: {"pitch": "piercing"}})
    record = only(evaluate(corpus, tmp_path / "out", SuiteTask("pitch", kind="class", target="pitch")))
    assert any("does not have their classes (piercing)" in note for note in record.notes) and record.test_items == 11


def test_a_model_with_the_name_of_a_baseline_has_its_own_results(corpus: Path, tmp_path: Path) -> None:
    small("hubert-fast", seed=1).save(tmp_path / "logmel")
    task = SuiteTask("height", kind="value", target="height")
    alone = only(evaluate(corpus, tmp_path / "a", task))
    both = evaluate(corpus, tmp_path / "b", task, models=[tmp_path / "logmel"], baselines=True).records.values()
    mine, baseline = (record for record in both if record.model == "logmel")
    assert baseline.role == "baseline" and (baseline.score, baseline.layer) == (alone.score, alone.layer) != (
        mine.score,
        3,
    )


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (SuiteTask("t", kind="class", target="one"), "one class"),
        (SuiteTask("t", kind="class", target="mood"), "no clip has a column 'mood'"),
        (SuiteTask("t", kind="value", target="pitch", metric="r2"), "but a number is needed"),
        (SuiteTask("t", kind="class", target="pitch", where={"one": "other"}), "no labeled clips"),
        (SuiteTask("t", kind="wer"), "does not transcribe"),
        (SuiteTask("t", kind="retrieval"), "does not embed text"),
    ],
)
def test_tasks_that_cannot_be_run_are_skipped_with_a_reason(
    corpus: Path, tmp_path: Path, task: SuiteTask, reason: str
) -> None:
    record = only(evaluate(corpus, tmp_path / "out", task))
    assert record.status == "skipped" and reason in record.reason and record.score is None
    assert "skipped" in (tmp_path / "out" / "results.md").read_text()


@pytest.mark.parametrize(("split", "indices"), [("train", range(36)), ("dev", range(36, 48)), ("test", range(48, 60))])
def test_a_split_of_one_class_is_skipped_and_named(corpus: Path, tmp_path: Path, split: str, indices: range) -> None:
    change(corpus, indices={index: {"pitch": "low", "height": 0.0} for index in indices})
    tasks = [
        SuiteTask("class", kind="class", target="pitch"),
        SuiteTask("tags", kind="tags", columns=["pitch"], metric="roc_auc"),
        SuiteTask("value", kind="value", target="height", metric="r2"),
    ]
    store = evaluate(corpus, tmp_path / "out", *tasks, models=["mfcc"], baselines=True)
    for record in store.records.values():
        if split != "train" or record.task == "class":
            assert record.status == "skipped" and record.score is None, (record.task, record.model)
    reasons = {record.task: record.reason for record in store.records.values() if record.model == "mfcc"}
    assert reasons["class"] == f"the {split} split has one class only: low"
    if split != "train":
        assert reasons["value"].startswith(f"r2 is not defined on the {split} split")
        assert reasons["tags"].startswith(f"roc_auc is not defined on the {split} split")


def test_tags_that_train_lacks_are_named_and_numbers_must_be_finite(corpus: Path, tmp_path: Path) -> None:
    change(corpus, indices={59: {"pitch": "piercing", "height": "nan"}})
    task = SuiteTask("tags", kind="tags", columns=["pitch"], metric="roc_auc")
    record = only(evaluate(corpus, tmp_path / "out", task))
    assert (
        record.status == "ok" and "1 tags left out, because train does not have them (pitch=piercing)" in record.notes
    )
    record = only(evaluate(corpus, tmp_path / "b", SuiteTask("v", kind="value", target="height", metric="r2")))
    assert record.status == "skipped" and "059.wav: height is 'nan', but a number is needed" in record.reason


def test_clips_without_a_transcript_are_counted_and_many_broken_ones_raise(corpus: Path) -> None:
    entries = manifest.read(corpus)
    for entry in entries[-2:]:
        entry.text, entry.captions = "", []
    manifest.write(corpus, entries)
    task, parrot = SuiteTask("words", "tones", "wer"), Parrot()
    record = tasks.run(task, open_source(SuiteSource(str(corpus))), parrot)  # type: ignore[arg-type]
    assert record.test_items == 10 and record.notes == ["2 of 12 clips of test without a transcript are left out"]
    for index in (48, 49):
        (corpus.parent / f"{index:03d}.wav").write_text("no audio")
    with pytest.raises(ConfigError, match=r"2 of 10 clips cannot be used, e\.g\. tones/048\.wav"):
        tasks.run(task, open_source(SuiteSource(str(corpus))), parrot)  # type: ignore[arg-type]


def test_an_encoder_with_outputs_that_are_not_finite_is_skipped(corpus: Path, tmp_path: Path) -> None:
    broken = small("hubert-base")
    with torch.no_grad():
        [parameter.fill_(torch.nan) for parameter in broken.parameters()]
    record = only(evaluate(corpus, tmp_path / "out", SuiteTask("pitch", kind="class", target="pitch"), models=[broken]))
    assert record.status == "skipped" and "not finite" in record.reason


# Capabilities


def test_word_errors_of_any_model_that_transcribes(corpus: Path) -> None:
    items = open_source(SuiteSource(str(corpus)))
    record = tasks.run(SuiteTask("words", "tones", "wer"), items, Parrot())  # type: ignore[arg-type]
    wrong = sum(row["truth"] == "low tone" for row in record.rows)
    assert record.score == pytest.approx(wrong / 24) and record.lower_is_better
    assert record.details["raw"]["wer"] > record.details["basic"]["wer"] == record.score
    assert record.details["basic"]["substitutions"] == wrong


def test_retrieval_and_zero_shot_of_any_model_that_embeds_text(corpus: Path, tmp_path: Path) -> None:
    mulan = small("mulan-ast")
    mulan.embed_text = lambda texts: torch.nn.functional.normalize(torch.randn(len(texts), mulan.dim), dim=1)
    tasks = [
        SuiteTask("captions", kind="retrieval"),
        SuiteTask("names", kind="zero_shot", target="pitch", templates=["{}", "a {} tone"]),
    ]
    store = evaluate(corpus, tmp_path / "out", *tasks, models=[mulan])
    captions, names = store.records.values()
    assert captions.status == names.status == "ok"
    assert 0 < (captions.score or 0) <= 1 and 0 < captions.details["chance"] < 1
    assert names.details["by template"].keys() == {"{}", "a {} tone"}
    right = sum(names.details["confusion"][name].get(name, 0) for name in ("high", "low"))
    items = sum(scores["items"] for scores in names.details["by class"].values())
    assert right / items == pytest.approx(names.score)


def test_an_empty_caption_is_not_a_caption(corpus: Path, tmp_path: Path) -> None:
    entries = manifest.read(corpus)
    entries[-1].captions, entries[-2].captions = [" ", "a tone"], [" "]
    manifest.write(corpus, entries)
    model = small("mulan-ast")
    model.embed_text = lambda texts: torch.nn.functional.normalize(torch.randn(len(texts), model.dim), dim=1)
    store = evaluate(corpus, tmp_path / "out", SuiteTask("captions", kind="retrieval"), models=[model])
    assert only(store).notes == ["1 of 12 clips of test without a caption are left out"]
    rows = read_rows(tmp_path / "out", only(store))
    assert rows[-1]["truth"] == "a tone"


def test_vectors_that_are_not_finite_skip_the_task(corpus: Path, tmp_path: Path) -> None:
    mulan = small("mulan-ast")
    mulan.embed_text = lambda texts: torch.randn(len(texts), mulan.dim)
    with torch.no_grad():
        [parameter.fill_(torch.nan) for parameter in mulan.parameters()]
    tasks = [SuiteTask("captions", kind="retrieval"), SuiteTask("names", kind="zero_shot", target="pitch")]
    for record in evaluate(corpus, tmp_path / "out", *tasks, models=[mulan]).records.values():
        assert record.status == "skipped" and "not finite" in record.reason, record.task


def test_speed_on_another_device_is_another_result(corpus: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("zoo.benchmarks.speed.measure.__kwdefaults__", {"clips": 1, "seconds": 1.0, "rounds": 1})
    evaluate(corpus, tmp_path / "out", SuiteTask("speed", kind="speed"))
    measured = speed.Speed(100.0, 90.0, 110.0, 0, 0.0, 0.0)
    monkeypatch.setattr("zoo.benchmarks.speed.measure", lambda encoder: measured)
    monkeypatch.setattr("zoo.models.spectral.model.Spectral.device", torch.device("cuda"))
    here, there = evaluate(corpus, tmp_path / "out", SuiteTask("speed", kind="speed")).records.values()
    assert there.score == 100 != here.score


def test_speed_counts_parameters_and_products(corpus: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("zoo.benchmarks.speed.measure.__kwdefaults__", {"clips": 1, "seconds": 1.0, "rounds": 1})
    model = small("hubert-base")
    record = only(evaluate(corpus, tmp_path / "out", SuiteTask("speed", kind="speed"), models=[model]))
    assert record.details["parameters"] == sum(p.numel() for p in model.parameters())
    assert record.score is not None and record.score > 0 and record.details["gmacs"] > 0.001


def test_speed_of_a_model_with_a_window_shorter_than_the_clips() -> None:
    model = small("whisper-tiny")
    short, long = (speed.measure(model, clips=1, seconds=seconds, rounds=1) for seconds in (model.window_seconds, 10.0))
    assert model.window_seconds < 10 and long.gmacs == pytest.approx(short.gmacs)


def test_robustness_without_the_predictions_on_clean_clips_is_skipped(
    corpus: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("zoo.models.spectral.model.Spectral.transcribe", Parrot.transcribe, raising=False)
    words = only(evaluate(corpus, tmp_path / "out", SuiteTask("words", kind="wer")))
    (tmp_path / "out" / words.predictions).unlink()
    tasks = [
        SuiteTask("words", kind="wer"),
        SuiteTask("changed", kind="robustness", of="words", conditions=["pink 10"]),
    ]
    _, changed = evaluate(corpus, tmp_path / "out", *tasks).records.values()
    assert changed.status == "skipped" and "is missing" in changed.reason
