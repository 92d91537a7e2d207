"""Random folds, whole sets, data sets of pairs, pinned revisions; the suites of others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from sklearn.model_selection import KFold
from tone_tasks import evaluate

from zoo.benchmarks import suite
from zoo.benchmarks.items import open_source
from zoo.benchmarks.published_splits import random_folds
from zoo.benchmarks.runner import run
from zoo.benchmarks.suite import Suite, SuiteSource, SuiteTask
from zoo.data import huggingface
from zoo.errors import ConfigError


def test_random_folds_are_those_of_mteb() -> None:
    names = random_folds(23, "random 5")
    for number, (_, rows) in enumerate(KFold(5, shuffle=True, random_state=42).split(range(23))):
        assert [row for row, name in enumerate(names) if name == f"{number:02d}"] == rows.tolist()
    for folds in ("random 2", "random 24", "random five"):
        with pytest.raises(ConfigError, match="23 clips can have 3 to 23 folds"):
            random_folds(23, folds)


def test_k_shot_on_random_folds(corpus: Path, tmp_path: Path) -> None:
    source = SuiteSource(str(corpus), folds="random 5", shared="published so")
    options = {"shots": "3", "draws": "1"}
    task = SuiteTask("pitch", "d", "kshot", "pitch", layers="last", pooling="mean", options=options)
    store = run(["logmel"], Suite("s", data={"d": source}, tasks=[task]), tmp_path / "out", baselines=False)
    (record,) = store.records.values()
    assert record.status == "ok", record.reason
    assert record.test_items == 60 and record.score is not None and record.score > 0.8
    assert record.details["train_items"] == 48, "nothing is chosen, so there is no dev fold"


def test_a_whole_set_in_one_split(corpus: Path) -> None:
    source = SuiteSource(str(corpus), whole="test", limit={"test": 20})
    assert Counter(item.entry.split for item in open_source(source).items) == {"test": 20}
    with pytest.raises(ConfigError, match="whole: 'all': choose one of train, dev, test"):
        open_source(SuiteSource(str(corpus), whole="all"))


@pytest.fixture
def rows_of_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set with the columns audio1, audio2 and label, as those of MTEB: two tones, of one height or of two."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    columns: dict[str, list[Any]] = {"audio1": [], "audio2": [], "label": []}
    for row in range(12):
        heights = rng.integers(2, size=2)
        for column, height in zip(("audio1", "audio2"), heights, strict=True):
            path = tmp_path / f"{row}{column}.wav"
            tone = np.sin(2 * np.pi * (500 + 1000 * height + rng.uniform(0, 100)) * np.arange(6000) / 16_000)
            soundfile.write(path, 0.3 * tone, 16_000)
            columns[column].append({"bytes": path.read_bytes(), "path": path.name})
        columns["label"].append(int(heights[0] == heights[1]))
    data = datasets.Dataset.from_dict(columns)
    for column in ("audio1", "audio2"):
        data = data.cast_column(column, datasets.Audio())
    datasets.DatasetDict({"test": data}).save_to_disk(str(tmp_path / "saved"))
    return f"hf:{tmp_path / 'saved'}"


def test_a_data_set_of_pairs(rows_of_pairs: str, tmp_path: Path) -> None:
    source = SuiteSource(rows_of_pairs, pair=["audio1", "audio2"], whole="test")
    options = {"pair": "pair"}
    task = SuiteTask("p", "d", "pairs", "label", metric="max AP", layers="last", pooling="mean", options=options)
    store = run(["logmel"], Suite("s", data={"d": source}, tasks=[task]), tmp_path / "out", baselines=False)
    (record,) = store.records.values()
    assert record.status == "ok", record.reason
    assert record.details["pairs of one class"] + record.details["pairs of two"] == 12
    assert record.score == pytest.approx(1) and record.metric == "max AP"
    with pytest.raises(ConfigError, match="name two audio columns"):
        open_source(SuiteSource(rows_of_pairs, pair=["audio1"]))


def test_a_revision_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    calls: list[Any] = []

    def load_dataset(*arguments: Any, **options: Any) -> Any:
        calls.append((arguments, options))
        return datasets.Dataset.from_dict({"audio": []})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    huggingface._open("owner/name@1a2b:clean")
    huggingface._open("owner/name:clean")
    assert calls == [(("owner/name", "clean"), {"revision": "1a2b"}), (("owner/name", "clean"), {})]


@pytest.mark.parametrize("name", ["maeb", "hear", "xares"])
def test_suites_of_others_pin_their_data(name: str) -> None:
    loaded = suite.load(name)
    for source in loaded.data.values():
        (of_hub,) = source.sources
        assert of_hub.path.startswith("hf:") and len(of_hub.path.partition("@")[2].partition(":")[0]) == 40
    for task in loaded.tasks:
        assert task.layers == "last" and task.pooling == "mean", "the published protocols choose nothing"


def test_the_stand_in_has_every_protocol(corpus: Path, tmp_path: Path) -> None:
    kinds = {task.kind for name in ("maeb", "hear", "xares") for task in suite.load(name).tasks}
    assert kinds | {"abx"} == {task.kind for task in suite.load("protocols-mini").tasks}
    with pytest.raises(ConfigError, match="weighted"):
        evaluate(corpus, tmp_path / "out", SuiteTask("a", kind="kshot", target="pitch", layers="weighted"))
