"""The output of a run: correct values in the correct rows, the same bytes each time, decoding in parallel."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from quiet_runs import digests, read, run
from recordings import write_wav
from small import small

from zoo import embed
from zoo.embed import compute, task, writer
from zoo.encoder import Encoder
from zoo.errors import ZooError
from zoo.jobs import decode


def test_every_file_becomes_a_row_in_the_order_of_the_inputs(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    summary = run(corpus, hubert, tmp_path / "out", shard_items=4, batch_seconds=2.0, workers=3)
    files = sorted(corpus.rglob("*.wav"))
    rows = read(tmp_path / "out")
    assert [row["path"] for row in rows] == list(map(str, files))
    assert [row["item"] for row in rows] == list(range(10))
    assert (
        {row["fingerprint"] for row in rows} == {hubert.fingerprint()}
        and {row["model"] for row in rows} == {"hubert-base"}
        and {row["layer"] for row in rows} == {3}
    )
    for row, file in zip(rows, files, strict=True):
        assert row["start"] == 0 and row["duration"] == pytest.approx(soundfile.info(file).duration, abs=1e-4)
        alone = hubert.embed(file)
        assert np.abs(np.array(row["embedding"], dtype=np.float32) - alone.numpy()).max() <= 1e-5
    assert (summary.embedded, summary.skipped, summary.failed) == (10, 0, 0)
    assert summary.audio_hours * 3600 == pytest.approx(sum(row["duration"] for row in rows))
    assert summary.real_time_factor > 0 and summary.wall_seconds > 0
    assert sorted(digests(tmp_path / "out")) == ["_plan.jsonl", *(f"part-0000{i}.parquet" for i in range(3))]


def test_the_bytes_do_not_depend_on_the_number_of_threads_or_the_time(
    corpus: Path, hubert: Encoder, tmp_path: Path
) -> None:
    (corpus / "broken.wav").write_text("no audio")
    for name, workers in (("one", 1), ("four", 4)):
        run(corpus, hubert, tmp_path / name, shard_items=4, batch_seconds=2.0, workers=workers)
    assert digests(tmp_path / "one") == digests(tmp_path / "four")
    assert "_errors.jsonl" in digests(tmp_path / "one")


def test_load_returns_arrays_and_one_tensor(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    run(corpus, hubert, tmp_path / "out", layer="0,2", shard_items=4, pooling="stats")
    one = embed.load(tmp_path / "out", layer=2)
    assert one.paths == [str(path) for path in sorted(corpus.rglob("*.wav"))]
    assert one.vectors.dtype == torch.float32 and one.vectors.shape == (10, 2 * hubert.dim)
    expected = hubert.embed(one.paths, layer=2, pooling="stats")
    assert (one.vectors - expected).abs().max() <= 1e-5
    assert (one.starts == 0).all() and one.durations == pytest.approx(
        [0.3 + i * 7 % 10 / 10 for i in range(10)], abs=1e-3
    )
    both = embed.load(tmp_path / "out")
    assert both.layers.tolist() == [0, 2] * 10 and both.paths[::2] == one.paths
    assert torch.equal(both.vectors[1::2], one.vectors)
    with pytest.raises(ZooError, match="has layers 0, 2"):
        embed.load(tmp_path / "out", layer=1)


def test_errors_of_load(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="no _plan"):
        embed.load(corpus)
    run(corpus, mfcc, tmp_path / "frames", pooling=None)
    with pytest.raises(ZooError, match="has frames"):
        embed.load(tmp_path / "frames")
    run(corpus, mfcc, tmp_path / "out", shard_items=4)
    (tmp_path / "out" / "part-00001.parquet").unlink()
    with pytest.raises(ZooError, match=r"not finished: part-00001\.parquet"):
        embed.load(tmp_path / "out")


def test_each_layer_has_its_own_rows(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    run(corpus, hubert, tmp_path / "out", layer="all", storage="float16")
    rows = read(tmp_path / "out")
    assert [(row["item"], row["layer"]) for row in rows] == [(i, k) for i in range(10) for k in range(4)]
    expected = hubert.embed(rows[20]["path"], layer="all")  # (L, D)
    for row, values in zip(rows[20:24], expected, strict=True):
        assert np.allclose(np.array(row["embedding"], dtype=np.float32), values, rtol=1e-3, atol=1e-3)
    assert embed.load(tmp_path / "out", layer=1).vectors.dtype == torch.float32


def test_the_metadata_has_the_settings(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    run(corpus, hubert, tmp_path / "out", pooling="max")
    schema = pq.read_schema(tmp_path / "out" / "part-00000.parquet")
    settings = json.loads(schema.metadata[b"zoo"])
    assert settings["model"] == "hubert-base" and settings["fingerprint"] == hubert.fingerprint()
    assert settings["pooling"] == "max" and settings["layers"] == [3] and settings["dtype"] == "float32"
    assert settings["preprocessing"]["sample_rate"] == 16000 and settings["device"] == "cpu" and settings["zoo"]
    assert str(schema.field("embedding").type) == "fixed_size_list<element: float>[48]"


def test_frames_are_those_of_encode(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    run(corpus, hubert, tmp_path / "out", pooling=None, layer=[0, -1], batch_seconds=2.0)
    table = pq.read_table(tmp_path / "out" / "part-00000.parquet")
    assert str(table.schema.field("frames").type) == "list<element: fixed_size_list<element: float>[48]>"
    rows = table.to_pylist()
    assert [(row["item"], row["part"], row["layer"]) for row in rows] == [(i, 0, k) for i in range(10) for k in (0, 3)]
    for row in rows[6:8]:
        expected = hubert.encode(row["path"], layer=row["layer"]).x[0]
        assert row["frame_rate"] == hubert.frame_rate
        assert np.abs(np.array(row["frames"], dtype=np.float32) - expected.numpy()).max() <= 1e-5


def test_a_long_recording_is_written_in_parts(
    corpus: Path, hubert: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With parts of half a second, row groups of a few rows, and the long recording in its own shard."""
    monkeypatch.setattr(compute, "PART_SECONDS", 0.5)
    monkeypatch.setattr(writer, "GROUP_BYTES", 20_000)
    monkeypatch.setattr(embed.task, "SHARD_BYTES", 60_000)
    long = write_wav(corpus / "a" / "9.wav", 7.3)
    run(corpus, hubert, tmp_path / "out", pooling=None, layer=-1)
    parts = [row for row in read(tmp_path / "out") if row["path"] == str(long)]
    assert [row["part"] for row in parts] == list(range(15))
    assert [row["start"] for row in parts] == pytest.approx([0.5 * i for i in range(15)])
    assert [row["duration"] for row in parts] == pytest.approx([0.5] * 14 + [0.3])
    assert [len(row["frames"]) for row in parts[:-1]] == [25] * 14
    frames = np.concatenate([np.array(row["frames"], dtype=np.float32) for row in parts])
    assert np.abs(frames - hubert.encode(long).x[0].numpy()).max() <= 1e-5
    shard = next(
        path for path in (tmp_path / "out").glob("part-*") if str(long) in pq.read_table(path)["path"].to_pylist()
    )
    assert pq.ParquetFile(shard).num_row_groups > 1
    assert set(pq.read_table(shard)["path"].to_pylist()) == {str(long)}


def test_the_statistics_of_a_long_recording_are_computed_once(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once per window, which would take quadratic time."""
    encoder = small("hubert-base")
    monkeypatch.setattr(type(encoder), "window_seconds", 1.0)
    monkeypatch.setattr(type(encoder), "context_seconds", 0.2)
    monkeypatch.setattr(compute, "PART_SECONDS", 0.5)
    calls = []
    whole = type(encoder).norm_stats
    monkeypatch.setattr(type(encoder), "norm_stats", lambda self, clip: calls.append(len(clip)) or whole(self, clip))
    run(write_wav(tmp_path / "long.wav", 5.0), encoder, tmp_path / "out", pooling=None)
    assert calls == [80000]


def test_manifest_spans_are_cut_out(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    lines = [
        {"audio": "a/4.wav", "duration": 0.25, "start": 0.25, "end": 0.5},
        {"audio": "a/1.wav", "duration": 1.0},
        {"audio": "a/4.wav", "duration": 0.5, "start": 0.5, "end": 1.0},
        {"audio": "a/4.wav", "duration": 0.5, "start": 50.0, "end": 50.5},
    ]
    (corpus / "m.jsonl").write_text("".join(json.dumps({"split": "test", **line}) + "\n" for line in lines))
    assert run(corpus / "m.jsonl", mfcc, tmp_path / "out").failed == 1
    rows = read(tmp_path / "out")
    assert [(Path(row["path"]).name, row["start"]) for row in rows] == [("4.wav", 0.25), ("1.wav", 0), ("4.wav", 0.5)]
    assert [row["duration"] for row in rows] == pytest.approx([0.25, 1.0, 0.5], abs=1e-4)
    wave, _ = soundfile.read(corpus / "a" / "4.wav", dtype="float32")
    assert np.allclose(rows[2]["embedding"], mfcc.embed(wave[8000:16000], 16000), atol=1e-4)
    error = json.loads((tmp_path / "out" / "_errors.jsonl").read_text())
    assert (error["start"], error["end"]) == (50.0, 50.5) and "50" in error["reason"]


def test_decoding_continues_while_the_encoder_computes(
    corpus: Path, mfcc: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batch, one clip of ten, waits until the other clips are decoded, also those of other shards."""
    decoded = threading.Semaphore(0)
    read, embed = decode.read, type(mfcc).embed

    def counted(*args: object, **options: object) -> object:
        clip = read(*args, **options)  # type: ignore[arg-type]
        decoded.release()
        return clip

    waited: list[bool] = []

    def patient(*args: object, **options: object) -> torch.Tensor:
        if not waited:
            waited.extend(decoded.acquire(timeout=10) for _ in range(10))
        return embed(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(decode, "read", counted)
    monkeypatch.setattr(type(mfcc), "embed", patient)
    monkeypatch.setattr(task, "LOOK_AHEAD_BATCHES", 20)
    run(corpus, mfcc, tmp_path / "out", batch_seconds=1.0, shard_items=4)
    assert waited == [True] * 10


def test_decoded_audio_in_memory_is_bounded_in_a_whole_run(
    mfcc: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """150 clips through an encoder that is slower than decoding: count the seconds decoded and not yet embedded."""
    for i in range(150):
        write_wav(tmp_path / "many" / f"{i:03d}.wav", 0.1 + i % 5 / 10, seed=i)
    lock, waiting, max_waiting = threading.Lock(), 0, 0
    read, embed = decode.read, type(mfcc).embed

    def counted(*args: object, **options: object) -> object:
        nonlocal waiting, max_waiting
        clip = read(*args, **options)  # type: ignore[arg-type]
        with lock:
            waiting += len(clip)
            max_waiting = max(max_waiting, waiting)
        return clip

    def slow(self: Encoder, clips: list[torch.Tensor], *args: object, **options: object) -> torch.Tensor:
        nonlocal waiting
        time.sleep(0.01)
        values = embed(self, clips, *args, **options)  # type: ignore[arg-type]
        with lock:
            waiting -= sum(map(len, clips))
        return values

    monkeypatch.setattr(decode, "read", counted)
    monkeypatch.setattr(type(mfcc), "embed", slow)
    run(tmp_path / "many", mfcc, tmp_path / "out", batch_seconds=2.0, workers=4)
    assert waiting == 0
    assert 2.0 < max_waiting / 16000 <= (task.LOOK_AHEAD_BATCHES + 1) * 2.0 + 0.5


def test_a_name_is_loaded_as_zoo_load_would(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    run(corpus, "mfcc", tmp_path / "name", dtype="float32")
    run(corpus, mfcc, tmp_path / "encoder")
    assert digests(tmp_path / "name") == digests(tmp_path / "encoder")


@pytest.mark.realdata
def test_real_recordings_and_a_real_manifest(data_root: Path, hubert: Encoder, tmp_path: Path) -> None:
    summary = run(data_root / "read" / "manifest.jsonl", hubert, tmp_path / "out", shard_items=20)
    assert (summary.embedded, summary.failed) == (58, 0)
    stored = embed.load(tmp_path / "out")
    assert (stored.vectors[7] - hubert.embed(stored.paths[7])).abs().max() <= 1e-5
