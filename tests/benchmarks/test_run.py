"""Whole benchmark runs on small encoders: results, errors, and second runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kill_bench
import pytest
import torch
from dying import kill
from small import small
from tone_tasks import Parrot, evaluate, only
from typer.testing import CliRunner

from zoo import audio
from zoo.benchmarks import features, table
from zoo.benchmarks.item_scores import read_rows
from zoo.benchmarks.items import open_source
from zoo.benchmarks.results import FORMAT, Record, Store
from zoo.benchmarks.suite import SuiteSource, SuiteTask
from zoo.benchmarks.tested_models import load_tested_models, untrained
from zoo.cli.bench import app
from zoo.encoder import Encoder
from zoo.errors import AudioError, CheckpointError, ConfigError, MissingDependencyError, ZooError


def test_a_run_with_all_baselines(corpus: Path, tmp_path: Path) -> None:
    tasks = [
        SuiteTask("pitch", kind="class", target="pitch"),
        SuiteTask("height", kind="value", target="height", metric="r2"),
        SuiteTask("tags", kind="tags", columns=["pitch"], metric="roc_auc"),
        SuiteTask("phones", kind="phones"),
    ]
    store = evaluate(corpus, tmp_path / "out", *tasks, models=[small("hubert-base", seed=1)], baselines=True)
    records = {(r.model, r.task): r for r in store.records.values()}
    names = {name for name, _ in records}
    assert names == {"hubert-base", "hubert-base, untrained", "mfcc", "logmel", "chance"} and len(records) == 20
    assert all(r.status == "ok" for r in records.values())
    for task in ("pitch", "phones"):
        record = records["logmel", task]
        assert record.score is not None and record.score > 0.9, "log-mel separates tones an octave apart"
        assert record.low is not None and record.low < record.score and (records["chance", task].score or 1) < 0.7
    assert records["hubert-base", "pitch"].groups == 3
    assert len(records["hubert-base", "pitch"].curves["dev"]) == 4
    rows = (tmp_path / "out" / records["logmel", "pitch"].predictions).read_text().splitlines()
    row = json.loads(rows[0])
    assert len(rows) == 12 and row["truth"] in ("high", "low") and len(row["predicted"]) == 2
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["protocol"] == 1 and len(content["records"]) == 20
    table = (tmp_path / "out" / "results.md").read_text()
    assert all(f"| {name} |" in table for name in names)


def test_a_rerun_computes_nothing_and_changes_nothing(corpus: Path, tmp_path: Path, monkeypatch: Any) -> None:
    task = SuiteTask("pitch", kind="class", target="pitch")
    evaluate(corpus, tmp_path / "out", task)
    before = (tmp_path / "out" / "results.json").read_bytes()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(Encoder, "embed", refuse)
    evaluate(corpus, tmp_path / "out", task)
    assert (tmp_path / "out" / "results.json").read_bytes() == before
    monkeypatch.setattr("zoo.benchmarks.evaluate.run_probe", refuse)
    with pytest.raises(AssertionError):  # another task is not in the store, though its features are in the cache
        evaluate(corpus, tmp_path / "out", SuiteTask("pitch", kind="class", target="pitch", balanced=True))


def test_former_settings_find_their_scores_and_predictions_again(corpus: Path, tmp_path: Path) -> None:
    plain, balanced = ({"kind": "class", "target": "pitch", "balanced": each} for each in (False, True))
    first = only(evaluate(corpus, tmp_path / "out", SuiteTask("pitch", **plain)))
    predictions = (tmp_path / "out" / first.predictions).read_bytes()
    evaluate(corpus, tmp_path / "out", SuiteTask("pitch", **balanced))
    store = evaluate(corpus, tmp_path / "out", SuiteTask("pitch", **plain))
    assert (tmp_path / "out" / first.predictions).read_bytes() == predictions
    assert len({record.predictions for record in store.records.values()}) == 2
    (shown,) = table.latest(store.records.values())
    assert shown.task_key == first.task_key, "the table shows the last settings"
    assert Store(tmp_path / "out", "tones").records.keys() == store.records.keys()


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_gives_the_same_scores(corpus: Path, tmp_path: Path) -> None:
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


# Errors


def test_a_task_is_tried_again_after_a_missing_package(corpus: Path, tmp_path: Path, monkeypatch: Any) -> None:
    task = SuiteTask("pitch", kind="class", target="pitch")
    with monkeypatch.context() as patch:

        def refuse(*_: Any, **__: Any) -> None:
            raise MissingDependencyError("tones/000.wav: needs PyAV: pip install 'audiozoo[video]'")

        patch.setattr("zoo.benchmarks.features.audio.load", refuse)
        record = only(evaluate(corpus, tmp_path / "out", task))
        assert record.status == "skipped" and "pip install" in record.reason
    assert only(evaluate(corpus, tmp_path / "out", task)).status == "ok"


def test_a_skipped_task_is_tried_again_and_unchanged_results_stay(
    corpus: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    task = SuiteTask("words", kind="wer")
    evaluate(corpus, tmp_path / "out", task)
    before = (tmp_path / "out" / "results.json").read_bytes()
    evaluate(corpus, tmp_path / "out", task)
    assert (tmp_path / "out" / "results.json").read_bytes() == before
    monkeypatch.setattr("zoo.models.spectral.model.Spectral.transcribe", Parrot.transcribe, raising=False)
    assert only(evaluate(corpus, tmp_path / "out", task)).status == "ok"


def test_a_checkpoint_of_the_wrong_kind_stops_the_run(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"not a model")
    with pytest.raises(CheckpointError):
        evaluate(corpus, tmp_path / "out", SuiteTask("t", kind="class", target="pitch"), models=[tmp_path / "model.pt"])
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_run_without_a_supporting_model_gives_an_empty_page(corpus: Path, tmp_path: Path) -> None:
    task = SuiteTask("captions", kind="retrieval")
    assert not evaluate(corpus, tmp_path / "out", task, models=[], baselines=True).records
    assert (tmp_path / "out" / "results.md").read_text().startswith("# tones")


def test_results_of_another_suite_are_not_touched(corpus: Path, tmp_path: Path) -> None:
    evaluate(corpus, tmp_path / "out", SuiteTask("pitch", kind="class", target="pitch"))
    with pytest.raises(ZooError, match="another folder"):
        Store(tmp_path / "out", "other suite")
    (tmp_path / "out" / "results.json").write_text("{")
    with pytest.raises(ZooError, match="damaged"):
        Store(tmp_path / "out", "tones")
    outdated = {"format": FORMAT, "protocol": 0, "suite": "tones", "records": [{"task": "pitch", "grade": 1}]}
    (tmp_path / "out" / "results.json").write_text(json.dumps(outdated))
    with pytest.raises(ZooError, match="has protocol 0, but 1 is required"):
        Store(tmp_path / "out", "tones")


def test_predictions_may_hold_any_characters(tmp_path: Path) -> None:
    record = Record("words", "wer", "parrot", "model", "m", "d", "k", metric="WER, basic", score=0.5)
    rows = [{"item": "a\udcff.wav", "predicted": "one\u2028two\x85three"}, {"item": "b", "predicted": ""}]
    Store(tmp_path, "suite").add(record, rows)
    assert read_rows(tmp_path, record) == rows
    (tmp_path / record.predictions).write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        read_rows(tmp_path, record)
    (tmp_path / record.predictions).unlink()
    with pytest.raises(ConfigError, match="predictions is missing"):
        read_rows(tmp_path, record)


def test_task_names_never_lead_out_of_the_folder(tmp_path: Path) -> None:
    record = Record("../../" + "long " * 60, "wer", "ы" * 300, "model", "m", "d", "k", score=0.5)
    Store(tmp_path / "out", "suite").add(record, [{"item": "a"}])
    (file,) = (tmp_path / "out" / "predictions").iterdir()
    assert record.predictions == f"predictions/{file.name}"


def test_a_clip_that_a_model_rejects_skips_the_task_and_not_the_run(
    corpus: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AudioError("waveform 3", "too loud")

    monkeypatch.setattr("zoo.models.spectral.model.Spectral.transcribe", refuse, raising=False)
    tasks = [SuiteTask("words", kind="wer"), SuiteTask("pitch", kind="class", target="pitch")]
    words, pitch = evaluate(corpus, tmp_path / "out", *tasks).records.values()
    assert words.status == "skipped" and "too loud" in words.reason and pitch.status == "ok"


# Features and models under test


def test_features_are_those_of_embed_and_follow_the_model(corpus: Path, tmp_path: Path) -> None:
    items, model = open_source(SuiteSource(str(corpus))), small("hubert-base")
    stored = features.extract(model, items, tmp_path, frames=3)
    indices = torch.tensor([40, 3, 17]).numpy()
    expected = model.embed([str(items.items[i].entry.audio) for i in indices], layer=2, pooling="stats")
    assert (stored.pooled(2, indices) - expected).abs().max() < 1e-5
    assert (stored.pooled(2, indices, "mean") - expected[:, : model.dim]).abs().max() < 1e-5
    time = features.time_points(items.items[3], 3)
    frames = model.encode(str(items.items[3].entry.audio), layer=1).x[0]
    middles = (torch.arange(len(frames)) * model.hop + 200) / 16_000
    nearest = (middles[None] - torch.from_numpy(time)[:, None]).abs().argmin(1)
    assert (stored.frames(1, indices)[1] - frames[nearest]).abs().max() < 0.01, "float16"
    other = features.extract(small("hubert-base", seed=1), items, tmp_path, frames=3)
    assert other.folder != stored.folder


def test_clips_that_were_away_get_their_features_at_the_next_call(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, items = small("hubert-base"), open_source(SuiteSource(str(corpus)))
    clean = features.extract(model, items, tmp_path / "clean", frames=3)
    load, away = audio.load, {str(items.items[2].entry.audio)}

    def absent(path: Path, *arguments: Any, **options: Any) -> Any:
        if str(path) in away:
            raise AudioError(path, "no such file")
        return load(path, *arguments, **options)

    monkeypatch.setattr(features.audio, "load", absent)
    first = features.extract(model, items, tmp_path / "cache", frames=3)
    kept = digests(first.folder)
    assert first.failed == {2: "no such file"}
    assert features.extract(model, items, tmp_path / "cache", frames=3).failed == {2: "no such file"}
    away.clear()
    away.add(str(items.items[0].entry.audio))  # another clip is away now: it keeps its features
    assert features.extract(model, items, tmp_path / "cache", frames=3).failed == {2: "no such file"}
    assert digests(first.folder) == kept
    away.clear()
    last = features.extract(model, items, tmp_path / "cache", frames=3)
    assert not last.failed and digests(last.folder) == digests(clean.folder) != kept


def digests(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_model_has_the_given_name_or_that_of_its_folder(tmp_path: Path) -> None:
    for folder in ("mine", "night/model", "night/run/best"):
        small("hubert-base", seed=1).save(tmp_path / folder)
    names = [f"round 1={tmp_path / 'mine'}", tmp_path / "mine", tmp_path / "night/model", tmp_path / "night/run/best"]
    models = load_tested_models([*names, "mfcc"], baselines=False)
    assert [model.name for model in models] == ["round 1", "mine", "night/model", "night/run/best", "mfcc"]


def test_untrained_is_the_same_architecture_and_reproducible() -> None:
    model = small("hubert-base", seed=1)
    state = torch.get_rng_state()
    first, second = untrained(model), untrained(model)
    assert first is not None and second is not None and first.config == model.config
    assert first.fingerprint() == second.fingerprint() != model.fingerprint()
    assert torch.equal(torch.get_rng_state(), state)
    assert untrained(small("mfcc")) is None


# The command


def write_suite(corpus: Path, folder: Path, task: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(
        f"data: {{tones: {{sources: '{corpus}'}}}}\ntasks: [{{name: pitch, data: tones, seeds: 2, {task}}}]\n"
    )
    return path


def bench(suite: Path, out: Path, *options: str) -> Any:
    command = ["run", "-m", "logmel", "--suite", str(suite), "--out", str(out), "--cache", str(out / "cache")]
    return CliRunner().invoke(app, [*command, *options])


def test_a_run_that_evaluates_nothing_fails_and_names_the_label_columns(corpus: Path, tmp_path: Path) -> None:
    suite, out = write_suite(corpus, tmp_path, "kind: class, target: pich"), tmp_path / "out"
    for baselines in ("--no-baselines", "--baselines"):
        done = bench(suite, out, baselines)
        assert done.exit_code != 0 and isinstance(done.exception, ZooError)
        assert "nothing was evaluated" in str(done.exception) and "height, one, pitch" in str(done.exception)
    assert "label columns" in (out / "results.md").read_text(), "the pages are written all the same"
    suite = write_suite(corpus, tmp_path, "kind: class, target: pitch")
    assert [bench(suite, out, "--no-baselines").exit_code for _ in range(2)] == [0, 0], "also if all is there already"
    suite = write_suite(corpus, tmp_path, "kind: wer")
    assert "it does not transcribe" in str(bench(suite, tmp_path / "words").exception)


def test_quiet_prints_nothing_and_a_missing_manifest_is_named(corpus: Path, tmp_path: Path) -> None:
    suite, out = write_suite(corpus, tmp_path, "kind: class, target: pitch"), tmp_path / "out"
    done = bench(suite, out, "--no-baselines", "--quiet")
    assert done.exit_code == 0 and done.output == "" and (out / "report.html").is_file()
    assert "pitch (accuracy)" in bench(suite, out, "--no-baselines").output
    for missing in ("manifst.jsonl", "table.csv", "folder"):
        suite.write_text(
            f"data: {{tones: {{sources: '{tmp_path / missing}'}}}}\ntasks: [{{name: t, data: tones, kind: wer}}]"
        )
        message = str(bench(suite, tmp_path / "no").exception)
        assert message.startswith("data 'tones': ") and missing in message and "no such" in message
        assert "UTF-8" not in message and "Errno" not in message
