"""Published classifiers on frozen features: k-shot, kNN and MLP, against plain references on random data."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from small import small
from synthetic import splits
from tone_tasks import evaluate, only
from torch import Tensor, nn

from zoo.benchmarks import mlp
from zoo.benchmarks.knn import nearest_neighbors, votes
from zoo.benchmarks.kshot import draw, k_shot
from zoo.benchmarks.probe import ProbeConfig, Split
from zoo.benchmarks.suite import SuiteTask
from zoo.data import manifest
from zoo.errors import ConfigError

SIZES = (120, 60, 80)


def random_splits(layers: int = 1, classes: int = 4, informative: int = 0, seed: int = 0) -> list[Split]:
    """Random features; only layer `informative` has weak class means, so that no classifier is perfect."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(classes, size=sum(SIZES))
    features = rng.normal(size=(layers, len(targets), 12))
    features[informative] += 0.7 * rng.normal(size=(classes, 12))[targets]
    return splits(torch.from_numpy(features).float(), targets, SIZES)


def draws_of_mteb(labels: np.ndarray, shots: int, draws: int) -> list[list[int]]:
    """As AbsTaskClassification._undersample_data of mteb 2.26: one order, shuffled again for each draw."""
    order: list[int] = list(range(len(labels)))
    drawn = []
    for _ in range(draws):
        np.random.RandomState(42).shuffle(order)
        counter: dict[int, int] = defaultdict(int)
        rows = []
        for i in order:
            if counter[labels[i]] < shots:
                rows.append(i)
                counter[labels[i]] += 1
        drawn.append(rows)
    return drawn


@pytest.mark.parametrize(("shots", "draws"), [(8, 10), (1, 3), (1000, 2)])
def test_draws_are_those_of_mteb(shots: int, draws: int) -> None:
    labels = np.random.default_rng(1).integers(5, size=200)
    assert [rows.tolist() for rows in draw(labels, shots, draws)] == draws_of_mteb(labels, shots, draws)


def test_k_shot_is_the_mean_of_scikit_learns_regressions() -> None:
    train, dev, test = random_splits()
    result = k_shot(train, dev, test, [0], ProbeConfig())
    x, y = train.layers(0).numpy(), train.targets
    expected = []
    for rows in draws_of_mteb(train.targets, 8, 10):
        model = LogisticRegression(max_iter=100, random_state=42).fit(x[rows], y[rows])
        expected.append(model.score(test.layers(0).numpy(), test.targets))
    assert result.scores == pytest.approx(expected, abs=1e-6)
    assert 0.3 < result.scores.mean() < 0.95 and result.scores.std() > 0
    assert np.array_equal(result.predict(test), result.outputs)


def test_folds_take_the_draws_after_those_of_the_folds_before() -> None:
    train, dev, test = random_splits()
    both = [k_shot(train, dev, test, [0], ProbeConfig(), draws=1, fold=fold).outputs[0] for fold in range(2)]
    together = k_shot(train, dev, test, [0], ProbeConfig(), draws=2)
    assert np.array_equal(np.stack(both), together.outputs)


@pytest.mark.parametrize("classify", [k_shot, nearest_neighbors])
def test_the_layer_is_chosen_on_dev(classify: object) -> None:
    train, dev, test = random_splits(layers=3, informative=1)
    result = classify(train, dev, test, range(3), ProbeConfig())  # type: ignore[operator]
    assert result.layer == 1 and len(result.dev) == len(result.test) == 3
    assert result.dev[1] == max(result.dev) and result.test[1] == pytest.approx(result.scores.mean())


@pytest.mark.parametrize("neighbors", [1, 10])
def test_knn_is_that_of_scikit_learn(neighbors: int) -> None:
    train, dev, test = random_splits()
    known, items = train.layers(0), test.layers(0)
    found = votes(known, torch.from_numpy(train.targets), items, neighbors)

    def weights(distances: np.ndarray) -> np.ndarray:
        return np.exp((1 - distances) / 0.07)

    reference = KNeighborsClassifier(neighbors, metric="cosine", weights=weights)
    reference.fit(known.double().numpy(), train.targets)
    assert found.numpy() == pytest.approx(reference.predict_proba(items.double().numpy()), abs=1e-5)
    double = votes(known.double(), torch.from_numpy(train.targets), items.double(), neighbors)
    assert double.numpy() == pytest.approx(reference.predict_proba(items.double().numpy()), abs=1e-9)
    result = nearest_neighbors(train, dev, test, [0], ProbeConfig(), neighbors=neighbors)
    assert result.scores[0] == pytest.approx(reference.score(items.numpy(), test.targets), abs=1e-6)


def test_knn_as_the_code_of_x_ares_scales_it() -> None:
    train, _, test = random_splits()
    known, items = train.layers(0), test.layers(0)
    scaled = known / known.norm(dim=0)  # columns, although the rows are the clips
    similarity = (items / items.norm(dim=1, keepdim=True)) @ scaled.T
    expected = torch.zeros(len(items), 4)
    for row, values in enumerate(similarity):
        best = values.topk(10)
        for weight, neighbor in zip((best.values / 0.07).softmax(0), best.indices, strict=True):
            expected[row, train.targets[neighbor]] += weight
    found = votes(known, torch.from_numpy(train.targets), items, scale="features")
    assert torch.allclose(found, expected, atol=1e-6)


def plain_network(x: Tensor, y: Tensor, dev: Split, hidden: int, rate: float, epochs: int) -> nn.Module:
    """Training as HEAR (hidden layers) and X-ARES (none) describe it, written out."""
    torch.manual_seed(0)
    if hidden:
        first = nn.Linear(x.shape[1], 1024)
        nn.init.xavier_uniform_(first.weight)
        last = nn.Linear(1024, 4)
        net = nn.Sequential(first, nn.BatchNorm1d(1024), nn.Dropout(0.1), nn.ReLU(), last)
        nn.init.xavier_uniform_(last.weight, gain=math.sqrt(2))
    else:
        net = nn.Sequential(nn.LayerNorm(x.shape[1]), nn.Linear(x.shape[1], 4))
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    best, kept = -1.0, {}
    for epoch in range(epochs):
        if not hidden:
            lowest = rate / 10
            optimizer.param_groups[0]["lr"] = lowest + (rate - lowest) / 2 * (1 + math.cos(math.pi * epoch / epochs))
        net.train()
        order = torch.randperm(len(x))
        size = 1024 if hidden else 32
        for start in range(0, len(x), size):
            rows = order[start : start + size]
            loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        score = float((net(dev.layers(0)).argmax(1).numpy() == dev.targets).mean())
        scored = (epoch + 1) % 3 == 0 or not hidden
        if scored and score > best:
            best, kept = score, {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(kept)
    return net


@pytest.mark.parametrize("setting", [mlp.settings("xares")[0], mlp.Setting(1, 1e-3, epochs=7)], ids=["xares", "hear"])
def test_networks_are_trained_as_published(setting: mlp.Setting) -> None:
    train, dev, test = random_splits()

    def on_dev(net: nn.Module) -> float:
        return float((mlp.predict(net, dev.layers(0)) == dev.targets).mean())

    net, _ = mlp.fit_network(train.layers(0), train.targets, on_dev, setting, seed=0)
    x, y = train.layers(0), torch.from_numpy(train.targets)
    plain = plain_network(x, y, dev, setting.hidden, setting.rate, setting.epochs)
    with torch.no_grad():
        assert torch.allclose(net(test.layers(0)), plain(test.layers(0)), atol=1e-6)


def test_hear_tries_eight_of_its_sixteen_settings_and_stops_early() -> None:
    tried = mlp.settings("hear")
    assert len(set(tried)) == 8
    assert {setting.hidden for setting in tried} <= {1, 2}
    train, _, _ = random_splits()
    calls: list[nn.Module] = []

    def never_better(net: nn.Module) -> float:
        calls.append(net)
        return 0.5

    _, best = mlp.fit_network(train.layers(0), train.targets, never_better, mlp.Setting(1, 1e-3), seed=0)
    assert best == 0.5 and len(calls) == 21, "one best score, then 20 without a better one"


def test_the_network_chooses_layer_and_setting_on_dev(monkeypatch: pytest.MonkeyPatch) -> None:
    train, dev, test = random_splits(layers=2, informative=1)
    useless, good = mlp.Setting(0, 1e-9, epochs=3), mlp.Setting(1, 1e-3, epochs=12)
    monkeypatch.setattr(mlp, "settings", lambda recipe: [good, useless])
    result = mlp.network(train, dev, test, range(2), ProbeConfig(seeds=3))
    assert result.layer == 1 and result.outputs.shape == (3, SIZES[2])
    assert result.scores.mean() > 0.4 and result.chosen["setting"]["hidden"] == 1
    assert np.array_equal(result.predict(test), result.outputs)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("kshot", {"shots": "2", "draws": "3"}), ("knn", {"neighbors": "3"}), ("mlp", {"recipe": "xares"})],
)
def test_tasks_in_a_suite(corpus: Path, tmp_path: Path, kind: str, options: dict[str, str]) -> None:
    task = SuiteTask("pitch", kind=kind, target="pitch", options=options, pooling="best")
    record = only(evaluate(corpus, tmp_path / "out", task))
    assert record.status == "ok", record.reason
    assert record.metric == "accuracy" and record.score is not None and record.score > (0.6 if kind == "mlp" else 0.8)
    assert record.low is not None and record.low <= record.score <= record.high
    assert len(record.seeds) == {"kshot": 3, "knn": 1, "mlp": 2}[kind]
    assert record.details["chosen"][0]["pooling"] in ("mean", "stats") and record.layer == 0
    assert len(record.curves["dev"]) == 1


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("kshot", {"shots": "0"}, "shots is 0, but must be a whole number of 1 or more"),
        ("kshot", {"draws": "2.5"}, "draws is 2.5"),
        ("kshot", {"shot": "8"}, "kshot has no option 'shot'; it has shots, draws"),
        ("knn", {"temperature": "-1"}, "temperature is -1, but must be a number above 0"),
        ("knn", {"scale": "rows"}, "choose one of clips, features"),
        ("mlp", {"recipe": "superb"}, "choose one of hear, xares"),
        ("class", {"shots": "8"}, "options are for"),
    ],
)
def test_options_are_checked(corpus: Path, tmp_path: Path, kind: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(corpus, tmp_path / "out", SuiteTask("pitch", kind=kind, target="pitch", options=options))


def test_a_given_layer_needs_no_dev(corpus: Path, tmp_path: Path) -> None:
    entries = manifest.read(corpus)
    for entry in entries:
        entry.split = "train" if entry.split == "dev" else entry.split
    manifest.write(corpus, entries)
    last = SuiteTask("pitch", kind="kshot", target="pitch", layers="last", pooling="mean")
    assert only(evaluate(corpus, tmp_path / "out", last)).status == "ok"
    record = only(evaluate(corpus, tmp_path / "two", SuiteTask("pitch", kind="kshot", target="pitch")))
    assert record.status == "skipped" and "the dev split has no labeled clips" in record.reason


def test_baselines_and_robustness_of_k_shot(corpus: Path, tmp_path: Path) -> None:
    tasks = [
        SuiteTask("pitch", kind="kshot", target="pitch", pooling="best", options={"draws": "2"}),
        SuiteTask("pitch, changed", kind="robustness", of="pitch", conditions=["white 60", "white -20"]),
    ]
    store = evaluate(corpus, tmp_path / "out", *tasks, baselines=True)
    records = {(record.task, record.model): record for record in store.records.values()}
    assert (records["pitch", "logmel"].score or 0) > 0.8 > (records["pitch", "chance"].score or 0)
    assert records["pitch", "mfcc"].status == "ok"
    changed = records["pitch, changed", "logmel"]
    assert changed.status == "ok", changed.reason
    assert changed.details["clean"] == pytest.approx(records["pitch", "logmel"].score)
    assert changed.details["conditions"]["white 60"]["change"] == 0
    assert changed.details["conditions"]["white -20"]["change"] < -0.1


@pytest.mark.parametrize("layers", ["best", "last"])
def test_layers_and_poolings_of_a_linear_probe(corpus: Path, tmp_path: Path, layers: str) -> None:
    model = small("hubert-base")
    task = SuiteTask("pitch", kind="class", target="pitch", layers=layers, pooling="best")
    record = only(evaluate(corpus, tmp_path / "out", task, models=[model]))
    assert record.status == "ok", record.reason
    assert len(record.curves["dev"]) == (model.num_layers + 1 if layers == "best" else 1)
    assert layers == "best" or record.layer == model.num_layers
    assert record.layer is not None and 0 <= record.layer <= model.num_layers
