"""Baselines of tasks on text: the most frequent text, ridge regression on log-mel, and how retrieval counts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small import small
from tone_tasks import Parrot, evaluate

from zoo.benchmarks.item_scores import read_rows
from zoo.benchmarks.suite import Suite, SuiteSource, SuiteTask, check
from zoo.data import manifest
from zoo.errors import ConfigError


def informed() -> Any:
    """A MuLan that places "high" and "low" captions at two opposite vectors, and clips at random."""
    torch.manual_seed(0)
    model = small("mulan-ast")
    direction = torch.nn.functional.normalize(torch.randn(1, model.dim))
    model.embed_text = lambda texts: direction * torch.tensor([[1.0 if "high" in text else -1.0] for text in texts])
    return model


def test_the_most_frequent_text_of_train_is_the_chance_of_word_errors(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = manifest.read(corpus)
    commonest = max(("low tone", "high tone"), key=[e.text for e in entries if e.split == "train"].count)
    monkeypatch.setattr("zoo.models.spectral.model.Spectral.transcribe", Parrot.transcribe, raising=False)
    store = evaluate(corpus, tmp_path / "out", SuiteTask("words", kind="wer"), baselines=True)
    records = {record.model: record for record in store.records.values()}
    assert set(records) == {"logmel", "chance"}, "encoders without training do not transcribe, so none is built"
    rows = read_rows(tmp_path / "out", records["chance"])
    assert {row["predicted"] for row in rows} == {commonest}
    assert records["chance"].score == sum(row["truth"] != commonest for row in rows) / (2 * len(rows))
    assert records["chance"].notes == [f"chance is the most frequent text of train: {commonest!r}"]
    untrained = [entry for entry in entries if entry.split == "test"]
    manifest.write(corpus, untrained)
    store = evaluate(corpus, tmp_path / "test", SuiteTask("words", kind="wer"), baselines=True)
    assert [record.model for record in store.records.values()] == ["logmel"], "no train, no baseline"


def test_ridge_on_logmel_is_a_baseline_of_retrieval_and_zero_shot(corpus: Path, tmp_path: Path) -> None:
    """A linear map separates tones an octave apart, though the model itself places them at random."""
    tasks = [
        SuiteTask("captions", kind="retrieval"),
        SuiteTask("clips", kind="retrieval", queries="audio"),
        SuiteTask("names", kind="zero_shot", target="pitch"),
    ]
    store = evaluate(corpus, tmp_path / "out", *tasks, models=[informed()], baselines=True)
    ridge = {record.task: record for record in store.records.values() if record.model.endswith("ridge on log-mel")}
    assert set(ridge) == {"captions", "clips", "names"} and all(each.role == "baseline" for each in ridge.values())
    assert all(each.score is not None and each.score > 0.9 for each in ridge.values())
    before = (tmp_path / "out" / "results.json").read_bytes()
    evaluate(corpus, tmp_path / "out", *tasks, models=[informed()], baselines=True)
    assert (tmp_path / "out" / "results.json").read_bytes() == before
    manifest.write(corpus, [entry for entry in manifest.read(corpus) if entry.split == "test"])
    store = evaluate(corpus, tmp_path / "test", tasks[0], models=[informed()], baselines=True)
    assert len(store.records) == 1, "without train there is no ridge"


def test_tasks_of_a_run_embed_the_same_clips_once(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, embedded = informed(), []
    embed = model.embed

    def counted(waves: Any, *arguments: Any, **options: Any) -> Any:
        embedded.append(len(waves))
        return embed(waves, *arguments, **options)

    monkeypatch.setattr(model, "embed", counted)
    tasks = [
        SuiteTask("captions", kind="retrieval"),
        SuiteTask("clips", kind="retrieval", queries="audio"),
        SuiteTask("names", kind="zero_shot", target="pitch"),
    ]
    (corpus.parent / "059.wav").rename(corpus.parent / "away.wav")
    manifest.write(corpus, [*manifest.read(corpus), *manifest.read(corpus)[48:59]])  # 1 of 23 is missing
    store = evaluate(corpus, tmp_path / "out", *tasks, models=[model])
    assert embedded == [16, 6] and len(store.records) == 3
    assert all("1 of 23 clips could not be used" in record.notes[0] for record in store.records.values())


def test_a_column_says_which_clips_are_equally_right(corpus: Path, tmp_path: Path) -> None:
    entries = manifest.read(corpus)
    for number, entry in enumerate(entries):
        entry.captions = [f"{entry.captions[0]} number {number}"]
    manifest.write(corpus, entries)
    tasks = [
        SuiteTask("own", kind="retrieval"),
        SuiteTask("pitch", kind="retrieval", target="pitch"),
        SuiteTask("pitch of clips", kind="retrieval", target="pitch", queries="audio"),
    ]
    store = evaluate(corpus, tmp_path / "out", *tasks, models=[informed()])
    own, pitch, clips = (record.details["metrics"] for record in store.records.values())
    assert own["R@1"]["chance"] == pytest.approx(1 / 12) and pitch["R@1"]["chance"] > 0.4
    assert pitch["MRR"]["score"] > own["MRR"]["score"] and set(own) == set(clips)
    assert all(metric["low"] <= metric["score"] <= metric["high"] for metric in pitch.values())
    page = (tmp_path / "out" / "results.md").read_text()
    assert "Retrieval, all metrics:" in page and "median rank" in page


def test_queries_of_audio_are_for_retrieval_only() -> None:
    for kind, queries in (("zero_shot", "audio"), ("retrieval", "both")):
        suite = Suite("s", data={"d": SuiteSource("d")}, tasks=[SuiteTask("t", "d", kind, "c", queries=queries)])
        with pytest.raises(ConfigError, match=f"queries '{queries}': choose text or audio"):
            check(suite, "s.yaml")


def test_each_clip_is_transcribed_in_its_own_language_if_the_model_has_it(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = manifest.read(corpus)
    for number, entry in enumerate(entries):
        entry.lang = ("de", "tlh", None)[number % 3]
    manifest.write(corpus, entries)
    requested: list[str | None] = []

    def transcribe(self: Any, waves: Any, sample_rate: int, *, language: list[str | None]) -> list[Any]:
        requested.extend(language)
        return Parrot.transcribe(self, waves)

    spectral = "zoo.models.spectral.model.Spectral"
    monkeypatch.setattr(f"{spectral}.transcribe", transcribe, raising=False)
    monkeypatch.setattr(f"{spectral}.tokenizer", SimpleNamespace(languages={"de": 1}), raising=False)
    evaluate(corpus, tmp_path / "out", SuiteTask("words", kind="wer", options={"language": "clip"}))
    assert requested == [{"de": "de"}.get(entry.lang or "") for entry in entries if entry.split == "test"]
