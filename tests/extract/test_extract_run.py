"""What a run writes: right numbers in the right rows, failures beside them, the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from recordings import write_wav
from rich.console import Console
from small import small

from zoo import extract
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError, ZooError
from zoo.extract import compute, decode, job, writer


def read(out: Path) -> list[dict]:
    return [row for path in sorted(out.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def digests(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}


def run(paths: object, model: object, out: Path, **options: object) -> extract.Summary:
    return extract.run(paths, model, out, **{"progress": False, **options})  # type: ignore[arg-type]


def test_every_file_becomes_a_row_in_the_order_of_the_inputs(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    summary = run(corpus, hubert, tmp_path / "out", shard_items=4, batch_seconds=2.0, workers=3)
    files = sorted(corpus.rglob("*.wav"))
    rows = read(tmp_path / "out")
    assert [row["path"] for row in rows] == list(map(str, files))
    assert [row["item"] for row in rows] == list(range(10))
    assert {row["model"] for row in rows} == {hubert.fingerprint()} and {row["layer"] for row in rows} == {3}
    for row, file in zip(rows, files, strict=True):
        assert row["start"] == 0 and row["duration"] == pytest.approx(soundfile.info(file).duration, abs=1e-4)
        alone = hubert.embed(file)
        assert np.abs(np.array(row["embedding"], dtype=np.float32) - alone.numpy()).max() <= 1e-5
    assert (summary.embedded, summary.skipped, summary.failed) == (10, 0, 0)
    assert summary.audio_hours * 3600 == pytest.approx(sum(row["duration"] for row in rows))
    assert summary.real_time_factor > 0 and summary.wall_seconds > 0
    assert sorted(digests(tmp_path / "out")) == ["_plan.jsonl", *(f"part-0000{i}.parquet" for i in range(3))]


def test_the_bytes_do_not_depend_on_threads_or_on_the_time_of_day(
    corpus: Path, hubert: Encoder, tmp_path: Path
) -> None:
    (corpus / "broken.wav").write_text("no audio")
    for name, workers in (("one", 1), ("four", 4)):
        run(corpus, hubert, tmp_path / name, shard_items=4, batch_seconds=2.0, workers=workers)
    assert digests(tmp_path / "one") == digests(tmp_path / "four")
    assert "errors.jsonl" in digests(tmp_path / "one")


def test_load_gives_paths_and_one_tensor(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    run(corpus, hubert, tmp_path / "out", layer="0,2", shard_items=4, pooling="stats")
    paths, x = extract.load(tmp_path / "out", layer=2)
    assert paths == [str(path) for path in sorted(corpus.rglob("*.wav"))]
    assert x.dtype == torch.float32 and x.shape == (10, 2 * hubert.dim)
    expected = hubert.embed(paths, layer=2, pooling="stats")
    assert (x - expected).abs().max() <= 1e-5
    for layer in (None, 1):
        with pytest.raises(ZooError, match="holds layers 0, 2"):
            extract.load(tmp_path / "out", layer=layer)


def test_load_says_why_it_cannot(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="no _plan"):
        extract.load(corpus)
    run(corpus, mfcc, tmp_path / "frames", pooling=None)
    with pytest.raises(ZooError, match="holds frames"):
        extract.load(tmp_path / "frames")
    run(corpus, mfcc, tmp_path / "out", shard_items=4)
    (tmp_path / "out" / "part-00001.parquet").unlink()
    with pytest.raises(ZooError, match=r"not finished: part-00001\.parquet"):
        extract.load(tmp_path / "out")


def test_all_layers_are_rows_of_their_own(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    run(corpus, hubert, tmp_path / "out", layer="all", storage="float16")
    rows = read(tmp_path / "out")
    assert [(row["item"], row["layer"]) for row in rows] == [(i, k) for i in range(10) for k in range(4)]
    expected = hubert.embed(rows[20]["path"], layer="all")  # (L, D)
    for row, values in zip(rows[20:24], expected, strict=True):
        assert np.allclose(np.array(row["embedding"], dtype=np.float32), values, rtol=1e-3, atol=1e-3)
    assert extract.load(tmp_path / "out", layer=1)[1].dtype == torch.float32


def test_the_metadata_tells_how_the_numbers_came_about(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    run(corpus, hubert, tmp_path / "out", pooling="max")
    form = pq.read_schema(tmp_path / "out" / "part-00000.parquet")
    notes = json.loads(form.metadata[b"zoo"])
    assert notes["model"] == "hubert-base" and notes["fingerprint"] == hubert.fingerprint()
    assert notes["pooling"] == "max" and notes["layers"] == [3] and notes["dtype"] == "float32"
    assert notes["preprocessing"]["sample_rate"] == 16000 and notes["device"] == "cpu" and notes["zoo"]
    assert str(form.field("embedding").type) == "fixed_size_list<element: float>[48]"


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
    """With parts of half a second, row groups of a few rows, and the long one in a shard of its own."""
    monkeypatch.setattr(compute, "PART_SECONDS", 0.5)
    monkeypatch.setattr(writer, "GROUP_BYTES", 20_000)
    monkeypatch.setattr(extract.plan, "SHARD_BYTES", 60_000)
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


def test_a_long_recording_is_normalised_by_one_look_at_it(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by one for each window, which would take time that grows with the square of its length."""
    encoder = small("hubert-base")
    monkeypatch.setattr(type(encoder), "window_seconds", 1.0)
    monkeypatch.setattr(type(encoder), "context_seconds", 0.2)
    monkeypatch.setattr(compute, "PART_SECONDS", 0.5)
    looks = []
    whole = type(encoder).moments
    monkeypatch.setattr(type(encoder), "moments", lambda self, clip: looks.append(len(clip)) or whole(self, clip))
    run(write_wav(tmp_path / "long.wav", 5.0), encoder, tmp_path / "out", pooling=None)
    assert looks == [80000]


def test_a_long_recording_that_breaks_on_the_way_leaves_no_rows(
    corpus: Path, hubert: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "PART_SECONDS", 0.5)
    monkeypatch.setattr(writer, "GROUP_BYTES", 20_000)
    whole = type(hubert).stream

    def stream(self: Encoder, clip: object, rate: int, **options: object) -> object:
        for part in whole(self, clip, rate, **options):  # type: ignore[arg-type]
            yield part.repeat(1, 4, 1)  # more than a part, so that rows come before the error
            raise AudioError("waveform 0", "gone bad")

    monkeypatch.setattr(type(hubert), "stream", stream)
    files = [corpus / "a" / "0.wav", write_wav(tmp_path / "long.wav", 7.3)]
    summary = run(files, hubert, tmp_path / "out", pooling=None, shard_items=1)
    assert summary.failed == 1
    assert [row["item"] for row in read(tmp_path / "out")] == [0]
    assert "gone bad" in (tmp_path / "out" / "errors.jsonl").read_text()


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
    error = json.loads((tmp_path / "out" / "errors.jsonl").read_text())
    assert (error["start"], error["end"]) == (50.0, 50.5) and "50" in error["reason"]


def bad_files(corpus: Path) -> dict[str, str]:
    """Name -> a word of the reason."""
    (corpus / "a" / "text.wav").write_text("no audio at all, " * 20)
    (corpus / "a" / "empty.wav").touch()
    soundfile.write(corpus / "a" / "nan.wav", np.array([0.1, np.nan] * 8000), 16000, subtype="FLOAT")
    write_wav(corpus / "a" / "tiny.wav", 0.01)
    (corpus / "b" / "gone.wav").symlink_to(corpus / "nowhere.wav")
    data = (corpus / "a" / "1.wav").read_bytes()
    (corpus / "b" / "cut.wav").write_bytes(data[: len(data) // 2])
    return {"empty": "", "nan": "nan", "text": "", "tiny": "too short", "cut": "truncated", "gone": "o such file"}


def test_bad_files_are_listed_and_the_rest_goes_on(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    words = bad_files(corpus)
    summary = run(corpus, hubert, tmp_path / "out", shard_items=5)
    assert (summary.embedded, summary.failed) == (10, 6)
    assert [Path(row["path"]).stem for row in read(tmp_path / "out")] == [str(i) for i in range(10)]
    lines = [json.loads(line) for line in (tmp_path / "out" / "errors.jsonl").read_text().splitlines()]
    assert [Path(line["path"]).stem for line in lines] == list(words)
    for line, word in zip(lines, words.values(), strict=True):
        assert word in line["reason"] and line["path"] not in line["reason"]


def test_a_failed_run_exits_with_an_error_only_when_asked(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    bad_files(corpus)
    with pytest.raises(ZooError, match=r"6 of 16 items failed.*errors\.jsonl"):
        run(corpus, mfcc, tmp_path / "out", fail_on_error=True)
    assert len(read(tmp_path / "out")) == 10
    assert run(corpus, mfcc, tmp_path / "out").failed == 6


def test_a_folder_of_nothing_but_bad_files_gives_empty_shards(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    bad_files(corpus)
    (corpus / "b" / "cut.wav").unlink()
    summary = run([corpus / "b" / "gone.wav", corpus / "a" / "nan.wav"], mfcc, tmp_path / "out")
    assert (summary.embedded, summary.failed, summary.real_time_factor) == (0, 2, 0)
    assert read(tmp_path / "out") == []
    assert extract.load(tmp_path / "out")[1].shape == (0, mfcc.dim)


def test_a_clip_that_the_encoder_refuses_does_not_take_its_batch_with_it(
    corpus: Path, hubert: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = type(hubert).embed
    refused = len(soundfile.read(corpus / "a" / "4.wav")[0])

    def embed(self: Encoder, waves: list[torch.Tensor], *args: object, **options: object) -> torch.Tensor:
        for i, wave in enumerate(waves):
            if len(wave) == refused:
                raise AudioError(f"waveform {i}", "I do not like it")
        return whole(self, waves, *args, **options)  # type: ignore[arg-type]

    run(corpus, hubert, tmp_path / "all")
    monkeypatch.setattr(type(hubert), "embed", embed)
    assert run(corpus, hubert, tmp_path / "out").failed == 1
    kept = [row for row in read(tmp_path / "all") if row["item"] != 4]
    rows = read(tmp_path / "out")
    assert [row["item"] for row in rows] == [row["item"] for row in kept]
    for row, expected in zip(rows, kept, strict=True):
        assert np.abs(np.subtract(row["embedding"], expected["embedding"])).max() <= 1e-5
    assert "I do not like it" in (tmp_path / "out" / "errors.jsonl").read_text()


def test_values_that_the_files_cannot_hold_are_failures(
    corpus: Path, mfcc: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = type(mfcc).embed
    monkeypatch.setattr(type(mfcc), "embed", lambda *a, **k: whole(*a, **k) * torch.tensor(1e6))
    assert run(corpus, mfcc, tmp_path / "wide").failed == 0
    assert run(corpus, mfcc, tmp_path / "out", storage="float16").failed == 10
    assert "float16 cannot hold" in (tmp_path / "out" / "errors.jsonl").read_text()


def test_names_that_are_not_unicode_are_spelled_out(tmp_path: Path, mfcc: Encoder) -> None:
    good, bad = tmp_path / "caf\udce9.wav", tmp_path / "nai\udceff.wav"
    shutil.move(write_wav(tmp_path / "x.wav", 0.3), good)
    bad.write_text("no audio")
    assert run([good, bad], mfcc, tmp_path / "out").failed == 1
    assert read(tmp_path / "out")[0]["path"].endswith(r"caf\udce9.wav")
    assert json.loads((tmp_path / "out" / "errors.jsonl").read_text())["path"].endswith(r"nai\udceff.wav")
    assert run([good, bad], mfcc, tmp_path / "out").skipped == 1


def test_decoding_goes_on_while_the_encoder_computes(
    corpus: Path, mfcc: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batch, one clip of ten, is held up until the others are decoded, other shards' included."""
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
    monkeypatch.setattr(job, "LOOK_AHEAD_BATCHES", 20)
    run(corpus, mfcc, tmp_path / "out", batch_seconds=1.0, shard_items=4)
    assert waited == [True] * 10


def test_decoded_audio_in_memory_is_bounded_from_end_to_end(
    mfcc: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """150 clips through an encoder that is slower than decoding: count the seconds decoded and not yet embedded."""
    for i in range(150):
        write_wav(tmp_path / "many" / f"{i:03d}.wav", 0.1 + i % 5 / 10, seed=i)
    lock, held, most = threading.Lock(), 0, 0
    read, embed = decode.read, type(mfcc).embed

    def counted(*args: object, **options: object) -> object:
        nonlocal held, most
        clip = read(*args, **options)  # type: ignore[arg-type]
        with lock:
            held += len(clip)
            most = max(most, held)
        return clip

    def slow(self: Encoder, clips: list[torch.Tensor], *args: object, **options: object) -> torch.Tensor:
        nonlocal held
        time.sleep(0.01)
        values = embed(self, clips, *args, **options)  # type: ignore[arg-type]
        with lock:
            held -= sum(map(len, clips))
        return values

    monkeypatch.setattr(decode, "read", counted)
    monkeypatch.setattr(type(mfcc), "embed", slow)
    run(tmp_path / "many", mfcc, tmp_path / "out", batch_seconds=2.0, workers=4)
    assert held == 0
    assert 2.0 < most / 16000 <= (job.LOOK_AHEAD_BATCHES + 1) * 2.0 + 0.5


def test_a_registered_name_says_device_and_number_format(
    corpus: Path, mfcc: Encoder, hubert: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job.registry, "load", lambda name, device, dtype: hubert if name == "hubert-base" else mfcc)
    monkeypatch.setattr(job, "resolve_dtype", lambda dtype, device: ("bfloat16", "this CPU multiplies it natively"))
    for name, line in (
        ("hubert-base", "hubert-base on cpu, bfloat16: this CPU multiplies it natively"),
        ("mfcc", "mfcc on cpu, float32: it has no weights"),
    ):
        said = io.StringIO()
        run(corpus, name, tmp_path / name, dtype="auto", device="cpu", progress=Console(file=said, width=200))
        first, last = said.getvalue().splitlines()
        assert first == line
        assert "10 items embedded" in last and "x real time" in last


def test_a_name_is_loaded_as_zoo_load_would(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    run(corpus, "mfcc", tmp_path / "name", dtype="float32")
    run(corpus, mfcc, tmp_path / "encoder")
    assert digests(tmp_path / "name") == digests(tmp_path / "encoder")


def test_progress_is_told_line_by_line_where_there_is_no_terminal(
    corpus: Path, mfcc: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract.progress, "LINE_EVERY", 0.0)
    (corpus / "a" / "bad.wav").touch()
    said = io.StringIO()
    run(corpus, mfcc, tmp_path / "out", progress=Console(file=said, width=200))
    lines = said.getvalue().splitlines()
    assert len(lines) >= 10
    assert "0.00 / 0.00 h, " in lines[5] and "x real time" in lines[5]
    assert lines[-3].endswith("0:00:00 left, 1 failed")


def test_names_that_look_like_markup_are_said_as_they_are(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    said = io.StringIO()
    run(corpus, mfcc, tmp_path / "[red] out", progress=Console(file=said, width=40))
    assert f"{tmp_path}/[red] out: 10 items" in said.getvalue()


def test_a_bar_is_shown_on_a_terminal(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    said = io.StringIO()
    run(corpus, mfcc, tmp_path / "out", progress=Console(file=said, force_terminal=True, width=120))
    assert "x real time" in said.getvalue() and "\x1b[" in said.getvalue()


def test_silence_is_kept_where_no_progress_is_wanted(
    corpus: Path, mfcc: Encoder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(corpus, mfcc, tmp_path / "out")
    assert capfd.readouterr() == ("", "")


def test_impossible_requests_leave_no_trace(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    for options in ({"workers": 0}, {"pooling": "median"}, {"layer": 9}, {"storage": "int8"}):
        with pytest.raises(ConfigError):
            run(corpus, mfcc, tmp_path / "out", **options)
    with pytest.raises(ZooError, match="no audio found"):
        run(tmp_path / "corpus" / "*.flac", mfcc, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ZooError, match="cannot be used as the output folder"):
        run(corpus, mfcc, corpus / "a" / "0.wav")


@pytest.mark.realdata
def test_real_recordings_and_a_real_manifest(data_root: Path, hubert: Encoder, tmp_path: Path) -> None:
    summary = run(data_root / "read" / "manifest.jsonl", hubert, tmp_path / "out", shard_items=20)
    assert (summary.embedded, summary.failed) == (58, 0)
    paths, x = extract.load(tmp_path / "out")
    assert (x[7] - hubert.embed(paths[7])).abs().max() <= 1e-5
