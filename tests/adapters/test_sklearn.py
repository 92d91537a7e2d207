"""The scikit-learn transformer: its protocol, its cache and its errors."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from recordings import write_wav
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from small import noise, small

import zoo
from zoo import loading
from zoo.adapters import sklearn as adapter
from zoo.adapters.sklearn import AudioEmbedding
from zoo.encoder import Encoder, Frames, Layer
from zoo.errors import AudioError, ConfigError


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Twelve tones, low and high in turn."""
    found = []
    time = np.arange(4000) / 16_000
    for i in range(12):
        found.append(str(tmp_path / f"{i}.wav"))
        soundfile.write(found[-1], 0.3 * np.sin(2 * np.pi * (400 + 1600 * (i % 2) + 10 * i) * time), 16_000)
    return found


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of clips of each call of Encoder.embed."""
    counts: list[int] = []
    embed = Encoder.embed

    def counting(self: Encoder, waves: Any, *rest: Any, **named: Any) -> torch.Tensor:
        counts.append(len(waves))
        return embed(self, waves, *rest, **named)

    monkeypatch.setattr(Encoder, "embed", counting)
    return counts


@dataclass(frozen=True)
class NoOptions:
    pass


class Level(Encoder):
    """Every array is audio for it, so that scikit-learn's checks can pass their tables of numbers."""

    family, Config = "level", NoOptions

    def __init__(self) -> None:
        super().__init__()
        self.config = NoOptions()
        self.sample_rate, self.hop, self.min_samples, self.dim, self.num_layers = 16_000, 1, 1, 2, 0

    def forward(
        self, waves: torch.Tensor, lengths: torch.Tensor, *, layer: Layer = -1, norm_stats: Any = None
    ) -> Frames:
        x = torch.stack([waves, waves.abs()], dim=-1)  # (B, T, 2)
        return Frames(x[None], lengths, self.frame_rate)


class LevelEmbedding(AudioEmbedding):
    """scikit-learn's checks pass tables of numbers to what takes them, and nearly nothing to what takes paths."""

    def __init__(self, sample_rate: int = 16_000) -> None:
        super().__init__(Level(), sample_rate=sample_rate)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.no_validation = False
        tags.input_tags.two_d_array = True
        return tags


NO_FIT = "fit learns nothing and does not look at X: a clip is checked by transform"
NOT_AUDIO = "the numbers are not audio, and transform says so"
INAPPLICABLE = {
    "check_n_features_in_after_fitting": NO_FIT,
    "check_n_features_in": NO_FIT,
    "check_estimators_nan_inf": NO_FIT,
    "check_estimators_empty_data_messages": NO_FIT,
    "check_estimator_sparse_tag": NO_FIT,
    "check_fit1d": NO_FIT + "; a list of paths has one dimension",
    "check_fit2d_predict1d": "a list of clips has one dimension",
    "check_complex_data": NO_FIT,
    "check_estimators_dtypes": NOT_AUDIO,
    "check_fit_idempotent": NOT_AUDIO,
    "check_dtype_object": "a table of objects has one column, of paths",
    "check_transformer_data_not_an_array": "X is a list, a table or an array",
}


def test_scikit_learn_checks() -> None:
    assert check_estimator(AudioEmbedding("logmel"))  # what it applies to a transformer of strings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(LevelEmbedding(), on_skip=None, on_fail=None)
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert sorted(failed.keys() - INAPPLICABLE.keys()) == [], failed
    assert len([result for result in results if result["status"] == "passed"]) > 25


def test_features_have_names_and_come_as_a_table(paths: list[str]) -> None:
    pd = pytest.importorskip("pandas")
    embedding = AudioEmbedding("logmel", pooling="stats")
    names = embedding.get_feature_names_out()
    assert list(names[:2]) == ["audioembedding0", "audioembedding1"] and len(names) == 160
    pipeline = make_pipeline(embedding, StandardScaler()).set_output(transform="pandas")
    table = pd.DataFrame({"path": paths}, index=[f"clip {i}" for i in range(12)])
    out = pipeline.fit_transform(table)
    assert list(out.columns) == list(names) == list(pipeline.get_feature_names_out())
    assert list(out.index) == list(table.index)


def test_a_column_of_a_table_is_embedded_beside_others(paths: list[str]) -> None:
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"path": paths, "age": range(12)})
    columns = ColumnTransformer([("audio", AudioEmbedding("mfcc"), ["path"]), ("rest", StandardScaler(), ["age"])])
    out = columns.set_output(transform="pandas").fit_transform(table)
    assert list(out.columns) == list(columns.get_feature_names_out())
    assert list(out.columns[[0, -1]]) == ["audio__audioembedding0", "rest__age"] and out.shape == (12, 40)


def test_a_grid_search_embeds_each_file_once_with_one_model(
    paths: list[str], tmp_path: Path, embedded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Any] = []
    load = loading.load
    monkeypatch.setattr(adapter.loading, "load", lambda *a, **k: loads.append(a) or load(*a, **k))
    adapter._shared_model.cache_clear()
    steps = [("embed", AudioEmbedding("logmel", cache=tmp_path / "cache")), ("classify", LogisticRegression())]
    search = GridSearchCV(Pipeline(steps), {"classify__C": [0.1, 1.0]}, cv=3)
    search.fit(paths, [i % 2 for i in range(12)])
    assert search.best_score_ == 1
    assert sum(embedded) == 12 and len(loads) == 1
    plain = AudioEmbedding("logmel").transform(paths)
    assert np.abs(search.best_estimator_["embed"].transform(paths) - plain).max() < 1e-5
    adapter._shared_model.cache_clear()


def test_the_cache_knows_what_a_vector_depends_on(paths: list[str], tmp_path: Path, embedded: list[int]) -> None:
    def new(wanted: int, X: Any, model: Any = None, **options: Any) -> np.ndarray:
        before = sum(embedded)
        found = AudioEmbedding(model or first, cache=tmp_path / "cache", **options).transform(X)
        assert sum(embedded) - before == wanted
        return found

    first, second = small("hubert-base", 0), small("hubert-base", 1)
    expected = new(2, paths[:2])
    assert np.array_equal(new(0, paths[1::-1]), expected[::-1])
    new(2, paths[:2], layer=0)
    assert np.array_equal(new(0, paths[:2], layer=first.num_layers), expected), "the last layer, by its number"
    new(2, paths[:2], pooling="stats")
    new(2, paths[:2], second)
    soundfile.write(paths[0], 0.1 * noise(0.5).numpy(), 16_000)
    assert not np.array_equal(new(1, paths[:2])[0], expected[0])
    waves = [noise(0.5, 1).numpy(), noise(0.5, 2)]
    at_16 = new(2, waves, sample_rate=16_000)
    assert np.array_equal(new(0, waves, sample_rate=16_000), at_16)
    new(2, waves, sample_rate=8_000)
    for file in (tmp_path / "cache").rglob("*.npy"):
        file.write_bytes(file.read_bytes()[:100])
    assert np.abs(new(2, paths[:2])[1] - expected[1]).max() < 1e-5, "a damaged file is computed again"


def test_clips_that_cannot_be_used(paths: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF????WAVE")
    write_wav(tmp_path / "short.wav", 1 / 16_000)
    clips = [paths[0], str(broken), paths[1], tmp_path / "short.wav", tmp_path / "missing.wav", noise(0.0005)]
    embedding = AudioEmbedding("logmel", sample_rate=16_000, cache=tmp_path / "cache")
    with pytest.raises(AudioError, match=r"broken\.wav"):
        embedding.transform(clips)
    with pytest.raises(AudioError, match=r"waveform 40: .*too short for one frame"):
        AudioEmbedding("logmel", sample_rate=16_000).transform([*[noise(0.1)] * 40, noise(0.0005)])
    with pytest.raises(AudioError, match=r"waveform 1: sample 0 is nan"):
        AudioEmbedding("logmel", sample_rate=16_000).transform([noise(0.1), noise(0.1) * float("nan")])
    tolerant = clone(embedding).set_params(on_error="nan")
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"4 clips cannot be used, their rows are NaN: .*broken\.wav.*1 more"):
            vectors = tolerant.transform(clips)
        assert np.isnan(vectors).all(1).tolist() == [False, True, False, True, True, True]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(tolerant.transform([paths[0], paths[1]]), vectors[[0, 2]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_error": "skip"}, "on_error 'skip' is unknown"),
        ({"batch_seconds": 0}, "batch_seconds 0"),
        ({"pooling": "median"}, "pooling 'median'"),
        ({"layer": "all"}, "layer 'all'"),
        ({"dtype": "float8"}, "dtype 'float8'"),
    ],
)
def test_wrong_settings_are_refused(paths: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AudioEmbedding("logmel", **options).transform(paths)


def test_precision_and_batches(paths: list[str], embedded: list[int], tmp_path: Path) -> None:
    small("hubert-base").save(tmp_path / "model")
    exact = AudioEmbedding(tmp_path / "model", batch_seconds=1).transform(paths)
    assert embedded == [4, 4, 4]
    rough = AudioEmbedding(tmp_path / "model", dtype="bfloat16").transform(paths)
    assert rough.dtype == np.float32 and not np.array_equal(rough, exact)
    cosine = (rough * exact).sum(1) / np.linalg.norm(rough, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosine.min() > 0.999


def test_fit_looks_at_the_model_again(paths: list[str], tmp_path: Path) -> None:
    small("hubert-base", 0).save(tmp_path / "model")
    embedding = AudioEmbedding(str(tmp_path / "model"))
    first = embedding.transform(paths[:2])
    small("hubert-base", 1).save(tmp_path / "model")
    assert np.array_equal(embedding.transform(paths[:2]), first)
    assert not np.array_equal(embedding.fit(paths).transform(paths[:2]), first)


def test_a_used_estimator_is_pickled_with_its_weights(paths: list[str], tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    small("hubert-base").save(tmp_path / "model")
    embedding = AudioEmbedding(str(tmp_path / "model"))
    expected = embedding.transform(paths)
    joblib.dump(embedding, tmp_path / "embedding.joblib")
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    assert np.array_equal(joblib.load(tmp_path / "embedding.joblib").transform(paths), expected)


def test_it_is_found_from_zoo() -> None:
    code = "import zoo; print(zoo.adapters.sklearn.AudioEmbedding.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["AudioEmbedding"]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = zoo.adapters.nothing
