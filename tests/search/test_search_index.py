"""Queries: exact results, by text and by audio, only with the model that made the index."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bands import write_tone
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

import zoo
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError, MissingDependencyError, ZooError
from zoo.search import Index, TextEncoder, build, nearest, store
from zoo.search.store import IndexEntry, IndexTable, Space


def made_of(vectors: Tensor, backend: str = "auto") -> Index:
    entries = [IndexEntry(f"/{row}.wav", None, None, row, row) for row in range(len(vectors))]
    space = Space("", "random", "0" * 16, {}, vectors.shape[1], "float32", str(vectors.dtype).removeprefix("torch."))
    return Index(Path("index"), space, IndexTable(entries, vectors), backend)


def check_exact(index: Index, queries: Tensor, k: int) -> None:
    """Compare with all products in float64."""
    scores, rows = index.search(queries, k)
    k = min(k, len(index))
    products = normalize(queries.double(), dim=1) @ index.vectors.double().T  # (Q, N)
    torch.testing.assert_close(scores.double(), products.topk(k).values, atol=1e-6, rtol=0)
    torch.testing.assert_close(products.gather(1, rows), scores.double(), atol=1e-6, rtol=0)
    assert all(len(set(row)) == k for row in rows.tolist())


SIZES = {
    "count": st.integers(1, 70),
    "width": st.integers(1, 9),
    "num_queries": st.integers(1, 12),
    "k": st.integers(1, 80),
}


@settings(max_examples=40, deadline=None)
@given(**SIZES, block=st.integers(1, 300), half=st.booleans(), seed=st.integers(0, 99))
def test_search_is_exact_for_any_block_size(
    count: int, width: int, num_queries: int, k: int, block: int, half: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    vectors = normalize(torch.randn(count, width), dim=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "BLOCK", block)
        patch.setattr(nearest, "QUERIES", 5)
        check_exact(made_of(vectors.half() if half else vectors, "torch"), torch.randn(num_queries, width) * 9, k)


@pytest.mark.parametrize("half", [False, True])
def test_faiss_gives_the_same_results(half: bool) -> None:
    pytest.importorskip("faiss")
    torch.manual_seed(0)
    vectors = normalize(torch.randn(500, 16), dim=1)
    check_exact(made_of(vectors.half() if half else vectors, "faiss"), torch.randn(40, 16), 7)


def test_missing_faiss_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo.search.index, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"audiozoo\[search\]"):
        made_of(torch.eye(4), "faiss")


def test_auto_uses_faiss_after_many_small_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    faiss_searches: list[int] = []

    def flat(queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        faiss_searches.append(len(queries))
        return nearest.nearest(torch.eye(4), queries, k)

    monkeypatch.setattr(zoo.search.index, "import_module", lambda name: name)
    monkeypatch.setattr(zoo.search.index, "Flat", lambda faiss, vectors: flat)
    for installed, expected in ((None, []), (object(), [1, 2])):
        monkeypatch.setattr(zoo.search.index, "find_spec", lambda name, installed=installed: installed)
        index = made_of(torch.eye(4))
        for count in [1] * zoo.search.index.MANY_SEARCHES + [1, 2, 100]:
            index.search(torch.ones(count, 4), 1)
        assert faiss_searches == expected


def test_invalid_queries_are_errors() -> None:
    index = made_of(torch.eye(4))
    for queries in (torch.zeros(4), torch.zeros(1, 5)):
        with pytest.raises(ConfigError, match=r"\(Q, 4\)"):
            index.search(queries)
    with pytest.raises(ConfigError, match="k 0"):
        index.search(torch.zeros(1, 4), 0)
    with pytest.raises(ConfigError, match="infinite or NaN"):
        index.search(torch.full((1, 4), torch.nan))
    with pytest.raises(ConfigError, match="choose one of auto, torch, faiss"):
        made_of(torch.eye(4), "annoy")
    assert index.search(torch.zeros(0, 4))[0].shape == (0, 4)


def test_text_and_audio_queries_find_the_right_files(tones: Path, bands: Encoder, tmp_path: Path) -> None:
    build(tones, bands, tmp_path / "index", progress=False)
    index = Index.open(tmp_path / "index")
    assert isinstance(bands, TextEncoder) and len(index) == 8
    for text, band in (("lowest", 0), ("high", 6)):
        hits = index.query_text(bands, text, 2)
        assert [Path(hit.path).name for hit in hits] == [f"{band}.wav", f"{(band - 1) % 8}.wav"]
        assert 1 > hits[0].score > 0.9 > 0.4 > hits[1].score > 0.2 and hits[0].start is None
    hits = index.query_audio(bands, write_tone(tmp_path / "other.wav", 3, seconds=0.9), 1)
    assert Path(hits[0].path).name == "3.wav" and hits[0].score > 0.99
    (tmp_path / "bad.wav").write_text("no audio")
    with pytest.raises(AudioError, match=r"bad\.wav"):
        index.query_audio(bands, tmp_path / "bad.wav")
    with pytest.raises(AudioError, match=r"short\.wav: .*too short"):
        index.query_audio(bands, write_tone(tmp_path / "short.wav", 3, seconds=0.01))


def test_vectors_are_normalized_embeddings(tones: Path, tmp_path: Path) -> None:
    mfcc = zoo.load("mfcc")
    build(tones, mfcc, tmp_path / "index", progress=False)
    index = Index.open(tmp_path / "index")
    expected = normalize(mfcc.embed([entry.path for entry in index.entries]), dim=1)
    torch.testing.assert_close(index.vectors, expected, atol=1e-5, rtol=0)
    best = index.query_audio(mfcc, tones / "5.wav", 1)[0]
    assert best.path == str(tones / "5.wav") and best.score == pytest.approx(1, abs=1e-5)


def test_the_error_for_a_model_without_text_suggests_another(tones: Path, tmp_path: Path) -> None:
    mfcc = zoo.load("mfcc")
    build(tones, mfcc, tmp_path / "index", progress=False)
    with pytest.raises(ConfigError, match=r"mfcc .*\bbands\b"):
        Index.open(tmp_path / "index").query_text(mfcc, "calm solo piano")


def test_queries_with_another_model_are_errors(tones: Path, bands: Encoder, tmp_path: Path) -> None:
    build(tones, bands, tmp_path / "index", progress=False)
    other = zoo.create("bands", gain=2.0)
    index = Index.open(tmp_path / "index")
    for query in (lambda: index.query_text(other, "low"), lambda: index.query_audio(other, tones / "0.wav")):
        with pytest.raises(ZooError, match=f"{bands.fingerprint()}.*{other.fingerprint()}"):
            query()


def test_a_missing_or_damaged_index_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="no index here; make one with `zoo index"):
        Index.open(tmp_path)
    (tmp_path / store.NAME).write_bytes(b"0" * 100)
    with pytest.raises(ZooError, match="damaged, or not an index"):
        Index.open(tmp_path)


@pytest.mark.parametrize("vectors", [torch.eye(8)[:5], torch.zeros(8, 5)])
def test_vectors_that_do_not_match_the_items_are_an_error(tones: Path, tmp_path: Path, vectors: Tensor) -> None:
    build(tones, "bands", tmp_path, progress=False)
    space, table = store.read(tmp_path) or pytest.fail("no index")
    store.write(tmp_path, space, IndexTable(table.entries, vectors))
    with pytest.raises(ZooError, match=r"damaged.* vectors for 8 items of width 8"):
        Index.open(tmp_path)


def test_an_empty_text_is_an_error(tones: Path, bands: Encoder, tmp_path: Path) -> None:
    build(tones, bands, tmp_path, progress=False)
    for text in ("", " \n"):
        with pytest.raises(ConfigError, match="the text is empty"):
            Index.open(tmp_path).query_text(bands, text)
