"""Robustness, hallucination and units, on models with known behavior."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from small import small

from zoo.benchmarks import evaluated, features, robustness, runner, tasks, units
from zoo.benchmarks.conditions import parse
from zoo.benchmarks.items import open_source
from zoo.benchmarks.results import Record, Store
from zoo.benchmarks.suite import Suite, SuiteSource, SuiteTask
from zoo.benchmarks.targets import Examples
from zoo.benchmarks.units import _interval, _rates
from zoo.data import manifest
from zoo.text.transcript import Segment, Transcript
from zoo.units import fit_quantizer
from zoo.units import layer as layer_of


def evaluate(
    corpus: Path, out: Path, *tasks: SuiteTask, models: Any = ("logmel",), **options: Any
) -> dict[str, Record]:
    for task in tasks:
        task.data, task.seeds = "tones", 2
    suite = Suite("tones", frames=3, data={"tones": SuiteSource(str(corpus))}, tasks=list(tasks))
    options = {"baselines": False, "console": Console(quiet=True), "cache": out / "cache"} | options
    store: Store = runner.run(list(models), suite, out, **options)
    return {record.task: record for record in store.records.values()}


# Robustness


def test_robustness_is_the_change_of_the_same_probe_on_changed_test_clips(corpus: Path, tmp_path: Path) -> None:
    conditions = ["white 60", "white -20", "speed 0.5"]
    records = evaluate(
        corpus,
        tmp_path / "out",
        SuiteTask("pitch", kind="class", target="pitch", metric="accuracy"),
        SuiteTask("phones", kind="phones", metric="accuracy"),
        SuiteTask("height", kind="value", target="height", metric="r2"),
        SuiteTask("pitch, changed", kind="robustness", of="pitch", conditions=conditions),
        SuiteTask("phones, changed", kind="robustness", of="phones", conditions=["white 60", "speed 0.9"]),
        SuiteTask("height, changed", kind="robustness", of="height", conditions=["white -20"]),
    )
    assert all(record.status == "ok" for record in records.values())
    record = records["pitch, changed"]
    assert record.details["clean"] == pytest.approx(records["pitch"].score)
    changes = {name: record.details["conditions"][name]["change"] for name in conditions}
    assert changes["white 60"] == 0 and changes["white -20"] < -0.2, "little noise does not hurt, much does"
    assert changes["speed 0.5"] < -0.2, "an octave lower, high tones are low ones"
    assert record.score == pytest.approx(np.mean(list(changes.values())))
    assert record.low is not None and record.high is not None and record.low <= record.score <= record.high
    assert record.metric == "change of accuracy" and not record.lower_is_better and record.test_items == 12
    row = json.loads((tmp_path / "out" / record.predictions).read_text().splitlines()[0])
    assert set(row) == {"item", "group", "clean", "value", "weight", *conditions}
    assert records["phones, changed"].score == pytest.approx(0, abs=0.1)
    assert (records["height, changed"].score or 0) < -0.2 and records["height, changed"].predictions == ""


def test_robustness_leaves_out_clips_that_fail_after_the_corruption(
    corpus: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    whole = features.read

    def too_short(item: Any, rate: int, condition: Any = None) -> Any:
        return whole(item, rate, condition)[: 10 if condition and "059" in item.key else None]

    monkeypatch.setattr(features, "read", too_short)
    tasks = [
        SuiteTask("pitch", kind="class", target="pitch", metric="accuracy"),
        SuiteTask("noisy", kind="robustness", of="pitch", conditions=["white 20"]),
    ]
    record = evaluate(corpus, tmp_path / "out", *tasks)["noisy"]
    assert record.test_items == 11 and "1 test clips could not be used after the corruption" in record.notes


def test_robustness_of_retrieval_notes_clips_that_fail_after_the_corruption(
    corpus: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    whole = evaluated.read

    def too_short(item: Any, rate: int, condition: Any = None) -> Any:
        return whole(item, rate, condition)[: 10 if condition and "059" in item.key else None]

    monkeypatch.setattr(evaluated, "read", too_short)
    mulan = small("mulan-ast")
    mulan.embed_text = lambda texts: torch.eye(2, mulan.dim)[[int("high" in text) for text in texts]]
    entries = manifest.read(corpus)
    entries[58].captions = []
    manifest.write(corpus, entries)
    tasks = [
        SuiteTask("captions", kind="retrieval"),
        SuiteTask("noisy", kind="robustness", of="captions", conditions=["white 20"]),
    ]
    records = evaluate(corpus, tmp_path / "out", *tasks, models=[mulan])
    assert records["captions"].test_items == 11 and records["noisy"].test_items == 10
    assert records["noisy"].notes == ["white 20: 1 clips are too short for this encoder and are left out"]


def test_robustness_counts_clips_with_equal_file_and_folder_names(corpus: Path, tmp_path: Path) -> None:
    entries = manifest.read(corpus)
    for number, entry in enumerate(entries):
        folder = corpus.parent / str(number // 4) / "wav"
        folder.mkdir(parents=True, exist_ok=True)
        entry.audio = entry.audio.rename(folder / f"{number % 4}.wav")
    manifest.write(corpus, entries)
    tasks = [
        SuiteTask("pitch", kind="class", target="pitch", metric="accuracy"),
        SuiteTask("noisy", kind="robustness", of="pitch", conditions=["white -20"]),
    ]
    records = evaluate(corpus, tmp_path / "out", *tasks)
    assert records["noisy"].test_items == records["pitch"].test_items == 12
    assert records["noisy"].details["clean"] == pytest.approx(records["pitch"].score)


def test_metrics_that_are_not_means_over_items_are_resampled() -> None:
    groups = np.repeat(np.arange(10), 6)
    truth = np.random.default_rng(0).normal(size=(60, 1))
    test = Examples(np.arange(60), np.zeros(60, dtype=int), truth, groups, [str(i) for i in range(60)])
    base = Record("a", "value", "", "", "", "", "", metric="r2")
    clean = np.stack([truth, truth])
    record = robustness.from_outputs(base, test, clean, {"x": clean * 0.5, "y": clean})
    assert record.details["conditions"]["x"]["change"] == pytest.approx(-0.25, abs=0.02)
    assert record.details["conditions"]["y"] == {"score": 1.0, "change": 0.0, "low": 0.0, "high": 0.0}
    assert record.score == pytest.approx(-0.125, abs=0.01) and record.groups == 10


# Transcripts


class Writer:
    """It transcribes "High tone." if the clip is loud enough, otherwise nothing."""

    sample_rate = 16_000

    def __init__(self, text: str = "High tone.", loud: float = 0.05) -> None:
        self.text, self.loud = text, loud

    def transcribe(self, waves: Any, sample_rate: int | None = None, **options: Any) -> list[Transcript]:
        return [
            Transcript("en", 1.0, [Segment(0.0, 1.0, self.text)] if wave.abs().mean() > self.loud else [])
            for wave in waves
        ]


def test_words_without_speech_are_counted_by_sound(corpus: Path) -> None:
    items = open_source(SuiteSource(str(corpus)))
    record = tasks.run(SuiteTask("h", "tones", "hallucination"), items, Writer())  # type: ignore[arg-type]
    assert list(record.details) == ["silence", "white noise", "pink noise", "music"]
    assert [record.details[sound]["words"] for sound in record.details] == [0, 0, 0, 24], "the tones are loud"
    minutes = sum(record.details[sound]["minutes"] for sound in record.details)
    assert record.score == pytest.approx(24 / minutes) and record.lower_is_better
    assert record.details["silence"]["clips"] == 16 and record.details["music"]["longest"] == "High tone."
    words, weights = (sum(row[key] for row in record.rows) for key in ("value", "weight"))
    assert words / weights == pytest.approx(record.score)
    record = tasks.run(SuiteTask("h", "tones", "hallucination"), items, Writer(loud=2.0))  # type: ignore[arg-type]
    assert record.score == 0 and record.low == 0 and (record.high or 0) > 0, (
        "no words in some clips do not prove a rate of 0"
    )
    assert (record.high or 0) > 1 / minutes, "more than one word in all clips"


def test_word_errors_in_noise_are_paired_with_those_on_clean_clips(corpus: Path, tmp_path: Path) -> None:
    items = open_source(SuiteSource(str(corpus)))
    task = SuiteTask("w", "tones", "wer")
    clean = tasks.run(task, items, Writer())  # type: ignore[arg-type]
    noisy = tasks.run(task, items, Writer("Low."), parse("white 20"))  # type: ignore[arg-type]
    base = Record("w", "wer", "writer", "model", "", "", "").with_result(clean)
    record = robustness.from_rows(base, clean.rows, {"white 20": noisy.rows}, ["a note"])
    assert record.details["clean"] == clean.score and record.lower_is_better and record.notes == ["a note"]
    errors = sum(row["errors"] for row in noisy.rows)
    assert record.details["conditions"]["white 20"]["score"] == pytest.approx(errors / 24)


# Units


def test_units_of_any_model_with_a_quantizer(corpus: Path, tmp_path: Path) -> None:
    model = small("hubert-base")
    entries = manifest.read(corpus)
    model.attach(fit_quantizer(entries, layer_of(model, 1), 8))
    tasks = [SuiteTask("units", kind="units", conditions=["white 60", "white -20"])]
    record = evaluate(corpus, tmp_path / "out", *tasks, models=[model])["units"]
    assert record.status == "ok", record.reason
    assert record.score is not None and 0 <= record.score <= 1 and record.metric == "PNMI"
    book = record.details["codebook 0"]
    assert book["pnmi"] == record.score and book["units"] == 8 and 1 <= book["used"] <= 8
    assert 0 < book["bit rate of runs"] <= book["bit rate"] <= 3 * model.frame_rate
    consistency = record.details["consistency"]
    assert 1 >= consistency["white 60"] > consistency["white -20"]
    rows = (tmp_path / "out" / record.predictions).read_text().splitlines()
    assert len(rows) == 12 and len(json.loads(rows[0])["predicted"][0]) == 1
    other = evaluate(corpus, tmp_path / "no", SuiteTask("units", kind="units"))["units"]
    assert other.status == "skipped" and "no quantizer" in other.reason


def test_unit_counts_are_per_group_and_corruption_is_per_batch(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [item for item in open_source(SuiteSource(str(corpus))).items if item.entry.split == "test"]
    model, sequences = small("hubert-base"), [torch.tensor([0, 1, 1])] * len(items)
    tables, _ = units._tables(model, items, sequences, {"H": 0, "L": 1}, 4)
    assert tables.shape == (3, 2, 4) and len(items) == 12, "three speakers"
    assert tables.sum() == 3 * len(items) and tables[0].sum() == 3 * sum(i.group == items[0].group for i in items)
    batches: list[int] = []
    monkeypatch.setattr(units, "BATCH", 5)
    monkeypatch.setattr(units, "_units", lambda _, clips: batches.append(len(clips)) or sequences[: len(clips)])
    clips = [(item, torch.ones(100)) for item in items]
    assert units._consistency(model, clips, sequences, "white 20") == 1 and batches == [5, 5, 2]


def test_units_equal_to_the_phones_have_full_information() -> None:
    tables = torch.zeros(20, 4, 4, dtype=torch.int64)
    for clip in range(20):
        tables[clip].fill_diagonal_(5 + clip % 3)
    interval = _interval(tables, 1.0)
    assert interval.low == pytest.approx(1) and interval.high == pytest.approx(1)
    rates = _rates([torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 0, 0])], rate=50.0)
    assert rates == {"bit rate": pytest.approx(50.0), "bit rate of runs": pytest.approx(25.0)}
