"""Clustering and pairs of clips, against scikit-learn, MTEB's rules and definitions, on random data."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import average_precision_score, v_measure_score
from tone_tasks import evaluate, only

from zoo.benchmarks import clustering, compare, pairs
from zoo.benchmarks.significance import blocks, jackknife
from zoo.benchmarks.suite import SuiteTask
from zoo.benchmarks.verification import min_detection_cost
from zoo.data import manifest
from zoo.errors import ConfigError


def features_and_classes(seed: int = 0, count: int = 150, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return rng.normal(size=(count, 8)) + 1.5 * rng.normal(size=(classes, 8))[labels], labels


# Clustering


@pytest.mark.parametrize("seed", range(5))
def test_v_measure_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, found = rng.integers(5, size=200), rng.integers(4, size=200)
    found[:100] = truth[:100] % 4
    table = np.zeros((5, 4))
    np.add.at(table, (truth, found), 1)
    assert clustering.v_measure(table) == pytest.approx(v_measure_score(truth, found), abs=1e-9)


def test_v_measures_that_are_known() -> None:
    assert clustering.v_measure(np.eye(3) * 7) == pytest.approx(1)
    assert clustering.v_measure(np.full((3, 3), 2.0)) == pytest.approx(0, abs=1e-12)
    assert clustering.v_measure(np.array([[5.0, 0.0], [0.0, 0.0]])) == 1, "one class, one cluster"


def test_runs_are_those_of_mteb() -> None:
    features, labels = features_and_classes()
    counts = clustering.tables(features, labels, np.arange(150) % 7, runs=3, sample=400)
    generator = random.Random(42)
    model = MiniBatchKMeans(n_clusters=4, batch_size=512, init="k-means++", n_init=1, random_state=42)
    expected = []
    for _ in range(3):
        drawn = generator.choices(range(150), k=400)
        expected.append(v_measure_score(labels[drawn], model.fit_predict(features[drawn])))
    assert clustering.mean_v_measure(counts) == pytest.approx(np.mean(expected), abs=1e-9)
    assert 0.2 < np.mean(expected) < 0.99 and counts.sum() == 3 * 400


# Pairs


def test_average_precision_is_the_highest_of_four_similarities() -> None:
    features, labels = features_and_classes(count=40)
    features[:, 0] *= 9  # so that the similarities differ
    every = pairs.all_pairs(labels)
    upper = np.triu_indices(40, 1)
    same = labels[upper[0]] == labels[upper[1]]
    assert np.array_equal(every.same, same)
    references = {name: -cdist(features, features, name)[upper] for name in ("cosine", "euclidean", "cityblock")}
    references["dot"] = (features @ features.T)[upper]
    precisions = {name: average_precision_score(same, values) for name, values in references.items()}
    found = pairs.score("max AP", pairs.similarities("max AP", features, every), same, 0.01)
    assert found == pytest.approx(max(precisions.values()), abs=1e-9)
    cosine = pairs.score("AP", pairs.similarities("AP", features, every), same, 0.01)
    assert cosine == pytest.approx(precisions["cosine"], abs=1e-9)
    assert len({round(value, 4) for value in precisions.values()}) == 4


def plain_cost(scores: np.ndarray, same: np.ndarray, target: float) -> float:
    """From the definition: the lowest cost over all thresholds, by the cost of the better constant answer."""
    costs = []
    for threshold in [-np.inf, *sorted(set(scores)), np.inf]:
        accepted = scores >= threshold
        costs.append(target * np.mean(~accepted[same]) + (1 - target) * np.mean(accepted[~same]))
    return min(costs) / min(target, 1 - target)


@pytest.mark.parametrize("target", [0.01, 0.05, 0.7])
@pytest.mark.parametrize("seed", range(5))
def test_detection_cost_is_that_of_the_definition(seed: int, target: float) -> None:
    rng = np.random.default_rng(seed)
    same = rng.random(300) < 0.4
    scores = (rng.normal(size=300) + 2.5 * same).round(1 if seed % 2 else 9)
    assert min_detection_cost(scores, same, target) == pytest.approx(plain_cost(scores, same, target), abs=1e-9)


def test_given_pairs_need_two_clips_and_one_label() -> None:
    names, labels = np.array(["a", "b", "a", "b"]), np.array(["1", "0", "1", "0"])
    found = pairs.given_pairs(names, labels)
    assert found.first.tolist() == [0, 1] and found.second.tolist() == [2, 3] and found.same.tolist() == [True, False]
    with pytest.raises(ConfigError, match="pair b: 1 clips"):
        pairs.given_pairs(names[:3], labels[:3])
    with pytest.raises(ConfigError, match=r"pair a: 2 clips with label \['0', '1'\]"):
        pairs.given_pairs(np.array(["a", "a"]), np.array(["1", "0"]))


# Jackknife


def test_the_jackknife_of_a_mean_is_the_usual_interval() -> None:
    values = np.random.default_rng(0).normal(2, 1, 30)
    without = np.array([np.delete(values, g).mean() for g in range(30)])
    interval, rows = jackknife(values.mean(), without, [str(g) for g in range(30)], share=False)
    assert [row["value"] for row in rows] == pytest.approx(values)
    error = values.std(ddof=1) / np.sqrt(30)
    assert interval.low == pytest.approx(values.mean() - 2.0452 * error, abs=1e-4)
    assert interval.high == pytest.approx(values.mean() + 2.0452 * error, abs=1e-4)


def test_jackknife_without_spread_and_with_few_groups() -> None:
    perfect, _ = jackknife(1.0, np.ones(6), list("abcdef"))
    assert perfect.high == 1 and perfect.low == pytest.approx(0.541, abs=1e-3), "the binomial bound"
    few, rows = jackknife(0.5, np.array([0.4, np.nan, 0.6]), list("abc"))
    assert np.isnan(few.low) and not rows


def test_many_groups_are_joined_to_blocks() -> None:
    number, names = blocks([f"g{i // 2}" for i in range(600)])
    assert len(names) == 100 and set(number.tolist()) == set(range(100))
    assert (number[0::2] == number[1::2]).all() and np.ptp(np.bincount(number)) == 0
    assert blocks(["b", "a", "b"])[1] == ["a", "b"]


def test_the_interval_of_an_equal_error_rate_holds() -> None:
    """In 97 of 100 experiments with new speakers, the interval held the rate of 120 speakers, .2835 (40 times)."""
    held = 0
    for seed in range(15):
        rng = np.random.default_rng(seed)
        speakers = np.repeat(np.arange(30), 5)
        features = rng.normal(size=(30, 6))[speakers] + 1.1 * rng.normal(size=(150, 6))
        every = pairs.all_pairs(speakers)
        cosines = pairs.similarities("EER", features, every)
        rate = pairs.score("EER", cosines, every.same, 0.01)
        without = []
        for speaker in range(30):
            kept = (speakers[every.first] != speaker) & (speakers[every.second] != speaker)
            without.append(pairs.score("EER", [cosines[0][kept]], every.same[kept], 0.01))
        interval, _ = jackknife(rate, np.array(without), [str(s) for s in range(30)])
        held += interval.low <= 0.2835 <= interval.high
    assert held >= 13


# Tasks


@pytest.mark.parametrize(("kind", "metric"), [("clustering", ""), ("pairs", "EER"), ("pairs", "max AP")])
def test_tasks_on_tones(corpus: Path, tmp_path: Path, kind: str, metric: str) -> None:
    options = {"runs": "3", "sample": "60"} if kind == "clustering" else {}
    task = SuiteTask("pitch", kind=kind, target="pitch", metric=metric, options=options, pooling="best")
    store = evaluate(corpus, tmp_path / "out", task, models=["logmel", "mfcc"])
    for record in store.records.values():
        assert record.status == "ok", record.reason
        assert record.low is not None and record.score is not None and record.low <= record.score <= record.high
        assert record.test_items == 12 and record.groups == 3 and record.layer == 0
        assert (
            (record.score < 0.3) if record.lower_is_better else (record.score > (0.02 if kind == "clustering" else 0.6))
        )
        assert record.lower_is_better == (metric == "EER") and record.details["pooling"] in ("mean", "stats")
    assert compare.compare([tmp_path / "out"])[0].pairs, "two models are compared, by the pseudo-values of speakers"


def test_pairs_that_a_column_names(corpus: Path, tmp_path: Path) -> None:
    entries = manifest.read(corpus)
    for split in ("dev", "test"):
        clips = [entry for entry in entries if entry.split == split]
        for first, second in zip(clips[0::2], clips[1::2], strict=True):
            same = str(int(first.labels["pitch"] == second.labels["pitch"]))
            for entry in (first, second):
                entry.labels |= {"pair": first.audio.stem, "label": same}
    manifest.write(corpus, entries)
    task = SuiteTask("same pitch", kind="pairs", target="label", metric="AP", options={"pair": "pair"})
    record = only(evaluate(corpus, tmp_path / "out", task))
    assert record.status == "ok", record.reason
    assert record.details["pairs of one class"] + record.details["pairs of two"] == 6
    assert record.score == 1


@pytest.mark.parametrize("kind", ["clustering", "pairs"])
def test_one_class_is_not_enough(corpus: Path, tmp_path: Path, kind: str) -> None:
    record = only(evaluate(corpus, tmp_path / "out", SuiteTask("one", kind=kind, target="one")))
    assert record.status == "skipped" and record.reason.startswith("the test split: ")
