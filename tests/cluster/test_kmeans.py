"""KMeans on rows in memory and on streams: quality, and determinism for the same rows and seed."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from sklearn.cluster import KMeans as Reference
from torch import Tensor

from zoo.cluster import KMeans
from zoo.cluster.nearest import cluster_sums, nearest
from zoo.cluster.sample import Reservoir
from zoo.errors import CheckpointError, ConfigError


def mixture(rows: int, width: int, groups: int, seed: int = 0, spread: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centers = 3 * torch.randn(groups, width, generator=generator)
    which = torch.randint(groups, (rows,), generator=generator)
    return centers[which] + spread * torch.randn(rows, width, generator=generator)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 400), st.integers(1, 24), st.integers(1, 40), st.sampled_from([0.0, 5000.0]))
def test_nearest_is_the_nearest(rows: int, width: int, k: int, offset: float) -> None:
    x = mixture(rows, width, 5, seed=rows) + offset
    centroids = mixture(k, width, 5, seed=k) + offset
    distances = torch.cdist(x.double(), centroids.double()).square()
    result = nearest(x, centroids)
    best = distances.amin(1)
    chosen = distances.gather(1, result.labels[:, None])[:, 0]
    assert ((chosen - best) <= 1e-3 + 1e-5 * best).all()
    assert torch.allclose(result.distances.double(), best, atol=2e-2 if offset else 1e-3, rtol=1e-4)


def test_the_first_of_equal_centroids_is_taken() -> None:
    centroids = mixture(5, 8, 5).repeat(3, 1)
    assert int(nearest(mixture(500, 8, 5, spread=0.1), centroids).labels.max()) < 5


def test_sums_are_exact_and_independent_of_threads() -> None:
    x, labels = mixture(3000, 7, 5), torch.randint(0, 11, (3000,))
    sums, counts = cluster_sums(x, labels, 12)
    expected = torch.zeros(12, 7, dtype=torch.float64).index_add_(0, labels, x.double())
    torch.testing.assert_close(sums, expected, atol=1e-3, rtol=1e-5)
    assert counts.tolist() == torch.bincount(labels, minlength=12).tolist() and counts[11] == 0
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 + threads % 2)
        assert torch.equal(cluster_sums(x, labels, 12)[0], sums)
    finally:
        torch.set_num_threads(threads)


def test_as_good_as_scikit_learn() -> None:
    x = mixture(30_000, 16, 60, spread=2.0)
    reference = Reference(50, n_init=3, random_state=0).fit(x.numpy())
    inertias = [KMeans(50, seed=seed).fit(x).inertia(x) for seed in range(3)]
    assert min(inertias) <= 1.005 * reference.inertia_
    assert max(inertias) <= 1.02 * reference.inertia_


def test_separate_groups_become_clusters() -> None:
    centers = torch.eye(20) * 50
    x = centers.repeat(30, 1) + torch.randn(600, 20, generator=torch.Generator().manual_seed(1))
    model = KMeans(20).fit(x)
    assert model.assign(x).view(30, 20).unique(dim=0).shape[0] == 1
    assert len(model.assign(x[:20]).unique()) == 20


def test_the_same_seed_gives_the_same_bytes() -> None:
    x = mixture(25_000, 6, 9)
    first = KMeans(7, seed=3).fit(x).centroids
    assert torch.equal(KMeans(7, seed=3).fit(x.numpy()).centroids, first)
    assert not torch.equal(KMeans(7, seed=4).fit(x).centroids, first)


def test_no_centroid_is_left_without_rows() -> None:
    """A small group still gets its own centroid, and duplicate rows do not cause an endless loop."""
    x = torch.cat([torch.zeros(20_000, 3), 100 * torch.eye(3)])
    model = KMeans(4).fit(x)
    assert len(model.assign(x).unique()) == 4 and model.inertia(x) < 1e-6
    assert KMeans(8).fit(x).inertia(x) < 1e-6
    assert torch.isfinite(KMeans(8).fit(x).centroids).all()


class Stream:
    """Rows in parts; can be iterated several times."""

    def __init__(self, x: Tensor, part: int) -> None:
        self.x, self.part, self.times = x, part, 0

    def __iter__(self) -> Iterator[Tensor]:
        self.times += 1
        return iter(self.x.split(self.part))


def test_a_stream_that_fits_gives_the_same_result_as_memory_for_any_parts() -> None:
    x = mixture(5000, 6, 9)
    whole = KMeans(7).fit(x).centroids
    for part in (1000, 777):
        stream = Stream(x, part)
        assert torch.equal(KMeans(7).fit(stream).centroids, whole)
        assert stream.times == 1
    assert torch.equal(KMeans(7).fit(iter(x.split(300))).centroids, whole)


def test_a_longer_stream_is_sampled_then_refined() -> None:
    x = mixture(60_000, 8, 40, spread=2.0)
    x = x[x[:, 0].argsort()]  # sorted, so a sample of the first rows would be biased
    best = KMeans(30).fit(x).inertia(x)
    sampled = KMeans(30, sample_bytes=4000 * 8 * 4, passes=0).fit(Stream(x, 999))
    stream = Stream(x, 1234)
    refined = KMeans(30, sample_bytes=4000 * 8 * 4, passes=2).fit(stream)
    assert stream.times == 3
    assert best * 0.99 < refined.inertia(x) < sampled.inertia(x) < 1.05 * best
    assert refined.inertia(Stream(x, 500)) == pytest.approx(refined.inertia(x), rel=1e-6)


@pytest.mark.parametrize("parts", [(1000,), (1, 999), (300, 300, 400)])
def test_a_reservoir_depends_on_rows_and_seed_only(parts: tuple[int, ...]) -> None:
    x = torch.arange(1000.0)[:, None]
    whole = Reservoir(100 * 4, seed=5)
    whole.add(x)
    cut = Reservoir(100 * 4, seed=5)
    for part in x.split(list(parts)):
        cut = Reservoir.restore(cut.rows().clone(), cut.seen, 100 * 4, 5)  # as after a kill
        cut.add(part)
    assert torch.equal(cut.rows(), whole.rows()) and len(whole.rows()) == 100 and whole.seen == 1000
    assert len(whole.rows().unique()) == 100


def test_a_reservoir_is_uniform() -> None:
    x = torch.arange(200.0)[:, None]
    hits = np.zeros(200)
    for seed in range(800):
        reservoir = Reservoir(20 * 4, seed)
        for part in x.split(33):
            reservoir.add(part)
        hits[reservoir.rows()[:, 0].long().numpy()] += 1
    assert abs(hits - 80).max() < 5 * np.sqrt(80 * 0.9)
    assert abs(hits[:20].mean() - 80) < 8 and abs(hits[-20:].mean() - 80) < 8


def test_memory_is_bounded_by_the_sample() -> None:
    """200 MB of rows through a sample of 4 MB."""

    def rows() -> Iterator[Tensor]:
        for seed in range(200):
            yield mixture(4096, 64, 9, seed=seed)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    KMeans(10, sample_bytes=4 << 20, passes=0).fit(rows())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_save_and_load(tmp_path: Path) -> None:
    x = mixture(500, 6, 9)
    model = KMeans(7, seed=2).fit(x)
    model.save(tmp_path / "a" / "km.safetensors")
    loaded = KMeans.load(tmp_path / "a" / "km.safetensors")
    assert torch.equal(loaded.centroids, model.centroids)
    assert (loaded.k, loaded.seed) == (7, 2) and torch.equal(loaded.assign(x), model.assign(x))
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["km.safetensors"]


def test_home_is_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    KMeans(2).fit(mixture(20, 3, 2)).save("~/km.safetensors")
    assert KMeans.load("~/km.safetensors").k == 2


def test_numpy_integers_are_integers(tmp_path: Path) -> None:
    KMeans(np.int64(2), np.int32(3)).fit(mixture(20, 3, 2)).save(tmp_path / "km.safetensors")
    assert KMeans.load(tmp_path / "km.safetensors").seed == 3
    with pytest.raises(ConfigError, match="whole numbers"):
        KMeans(2.5)  # type: ignore[arg-type]


def test_arrays_mapped_read_only_give_no_warning(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", mixture(50, 3, 2).numpy())
    code = """if True:
        import sys, numpy
        from zoo.cluster import KMeans
        x = numpy.load(sys.argv[1], mmap_mode="r")
        print(len(KMeans(2).fit(x).assign(x)))"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "x.npy"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "50\n", "")


def test_a_stream_is_checked_beyond_its_sample() -> None:
    x = mixture(500, 4, 3)
    bad = x.clone()
    bad[400] = torch.nan
    with pytest.raises(ConfigError, match=r"part 1: .* NaN"):
        KMeans(3, sample_bytes=50 * 16).fit([x, bad, x])
    with pytest.raises(ConfigError, match=r"sample_bytes 80: only 5 rows fit, .*30.* give 480"):
        KMeans(30, sample_bytes=5 * 16).fit([x, x])


@pytest.mark.parametrize("scale", [1e20, 1e39])
def test_values_with_squares_beyond_float32_are_an_error(scale: float) -> None:
    with pytest.raises(ConfigError, match="overflow float32"):
        KMeans(3).fit(mixture(100, 4, 3).double() * scale)


def test_more_clusters_than_there_are_different_rows() -> None:
    x = torch.eye(3).repeat(10, 1)
    assert KMeans(5).fit(x).inertia(x) == 0
    assert torch.equal(KMeans(3).fit(torch.ones(10, 2)).centroids, torch.ones(3, 2))


def test_only_rows_of_the_same_width_are_assigned() -> None:
    model = KMeans(3).fit(mixture(50, 4, 3))
    for width in (1, 3, 5):  # width 1 would broadcast to all four
        with pytest.raises(ConfigError, match=f"rows of {width} features, but the centroids have 4"):
            model.assign(torch.zeros(2, width))
        with pytest.raises(ConfigError, match=f"rows of {width} features"):
            model.inertia(torch.zeros(2, width))
    with pytest.raises(ConfigError, match="NaN"):
        model.assign(torch.full((2, 4), torch.nan))
    with pytest.raises(ConfigError, match=r"\(N, D\)"):
        KMeans(1).fit(torch.zeros(5, 0))


def test_errors(tmp_path: Path) -> None:
    x = mixture(20, 3, 2)
    with pytest.raises(ConfigError, match="20 rows cannot make 21 clusters"):
        KMeans(21).fit(x)
    with pytest.raises(ConfigError, match="NaN"):
        KMeans(2).fit(torch.where(x == x[3, 1], torch.nan, x))
    with pytest.raises(ConfigError, match="fit"):
        KMeans(2).assign(x)
    with pytest.raises(ConfigError, match="rows of 3 features are followed by rows of 4"):
        KMeans(2).fit([x, mixture(5, 4, 2)])
    with pytest.raises(ConfigError, match=r"\(N, D\)"):
        KMeans(2).fit(torch.arange(9))
    with pytest.raises(ConfigError, match="k 0"):
        KMeans(0)
    (tmp_path / "no").write_bytes(b"no")
    save_file({"centroids": x}, tmp_path / "null", metadata={"zoo": "null"})
    for path in ("no", "null", "missing"):
        with pytest.raises(CheckpointError, match=path):
            KMeans.load(tmp_path / path)
