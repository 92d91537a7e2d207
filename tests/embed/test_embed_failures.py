"""Items that cannot be embedded, messages during a run, and invalid requests."""

from __future__ import annotations

import copy
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from quiet_runs import read, run
from recordings import write_wav
from rich.console import Console

from zoo import embed
from zoo.embed import compute, writer
from zoo.encoder import Encoder
from zoo.errors import AudioError, ConfigError, ZooError
from zoo.jobs import progress


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


def test_a_long_recording_that_fails_later_has_no_rows(
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
    assert "gone bad" in (tmp_path / "out" / "_errors.jsonl").read_text()


def test_bad_files_are_listed_and_the_others_are_embedded(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    words = bad_files(corpus)
    summary = run(corpus, hubert, tmp_path / "out", shard_items=5)
    assert (summary.embedded, summary.failed) == (10, 6)
    assert [Path(row["path"]).stem for row in read(tmp_path / "out")] == [str(i) for i in range(10)]
    lines = [json.loads(line) for line in (tmp_path / "out" / "_errors.jsonl").read_text().splitlines()]
    assert [Path(line["path"]).stem for line in lines] == list(words)
    for line, word in zip(lines, words.values(), strict=True):
        assert word in line["reason"] and line["path"] not in line["reason"]


def test_a_run_with_failures_raises_only_with_fail_on_error(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    bad_files(corpus)
    with pytest.raises(ZooError, match=r"6 of 16 items failed.*errors\.jsonl"):
        run(corpus, mfcc, tmp_path / "out", fail_on_error=True)
    assert len(read(tmp_path / "out")) == 10
    assert run(corpus, mfcc, tmp_path / "out").failed == 6


def test_a_folder_of_bad_files_only_gives_empty_shards(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    bad_files(corpus)
    (corpus / "b" / "cut.wav").unlink()
    summary = run([corpus / "b" / "gone.wav", corpus / "a" / "nan.wav"], mfcc, tmp_path / "out")
    assert (summary.embedded, summary.failed, summary.real_time_factor) == (0, 2, 0)
    assert read(tmp_path / "out") == []
    assert embed.load(tmp_path / "out").vectors.shape == (0, mfcc.dim)


def test_if_the_encoder_rejects_a_clip_the_rest_of_the_batch_is_embedded(
    corpus: Path, hubert: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = type(hubert).embed
    bad_length = len(soundfile.read(corpus / "a" / "4.wav")[0])

    def embed(self: Encoder, waves: list[torch.Tensor], *args: object, **options: object) -> torch.Tensor:
        for i, wave in enumerate(waves):
            if len(wave) == bad_length:
                raise AudioError(f"waveform {i}", "rejected")
        return whole(self, waves, *args, **options)  # type: ignore[arg-type]

    run(corpus, hubert, tmp_path / "all")
    monkeypatch.setattr(type(hubert), "embed", embed)
    assert run(corpus, hubert, tmp_path / "out").failed == 1
    expected_rows = [row for row in read(tmp_path / "all") if row["item"] != 4]
    rows = read(tmp_path / "out")
    assert [row["item"] for row in rows] == [row["item"] for row in expected_rows]
    for row, expected in zip(rows, expected_rows, strict=True):
        assert np.abs(np.subtract(row["embedding"], expected["embedding"])).max() <= 1e-5
    assert "rejected" in (tmp_path / "out" / "_errors.jsonl").read_text()


def test_values_that_the_files_cannot_hold_are_failures(
    corpus: Path, mfcc: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = type(mfcc).embed
    monkeypatch.setattr(type(mfcc), "embed", lambda *a, **k: whole(*a, **k) * torch.tensor(1e6))
    assert run(corpus, mfcc, tmp_path / "wide").failed == 0
    assert run(corpus, mfcc, tmp_path / "out", storage="float16").failed == 10
    assert "float16 cannot hold" in (tmp_path / "out" / "_errors.jsonl").read_text()


def test_file_names_that_are_not_unicode_are_escaped(tmp_path: Path, mfcc: Encoder) -> None:
    good, bad = tmp_path / "caf\udce9.wav", tmp_path / "nai\udceff.wav"
    shutil.move(write_wav(tmp_path / "x.wav", 0.3), good)
    bad.write_text("no audio")
    assert run([good, bad], mfcc, tmp_path / "out").failed == 1
    assert read(tmp_path / "out")[0]["path"].endswith(r"caf\udce9.wav")
    assert json.loads((tmp_path / "out" / "_errors.jsonl").read_text())["path"].endswith(r"nai\udceff.wav")
    assert run([good, bad], mfcc, tmp_path / "out").skipped == 1


def test_the_first_line_has_device_and_number_format(
    corpus: Path, mfcc: Encoder, hubert: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reduced = copy.deepcopy(hubert).bfloat16()
    monkeypatch.setattr("zoo.loading.load", lambda name, device, dtype: reduced if name == "hubert-base" else mfcc)
    why = "native on this CPU"
    monkeypatch.setattr("zoo.nn.precision.resolve_dtype", lambda dtype, device: ("bfloat16", why))
    for name, line in (
        ("hubert-base", "hubert-base on cpu in bfloat16 (native on this CPU)"),
        ("mfcc", "mfcc on cpu in float32 (no weights)"),
    ):
        output = io.StringIO()
        run(corpus, name, tmp_path / name, dtype="auto", device="cpu", progress=Console(file=output, width=200))
        first, last = output.getvalue().splitlines()
        assert first == line
        assert "10 items embedded" in last and "x real time" in last


def test_progress_is_printed_line_by_line_without_a_terminal(
    corpus: Path, mfcc: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    (corpus / "a" / "bad.wav").touch()
    output = io.StringIO()
    run(corpus, mfcc, tmp_path / "out", progress=Console(file=output, width=200))
    lines = output.getvalue().splitlines()
    assert len(lines) >= 10
    assert "0.00 / 0.00 h, " in lines[5] and "x real time" in lines[5]
    assert lines[-3].endswith("0:00:00 left, 1 failed")


def test_names_that_look_like_markup_are_printed_unchanged(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    output = io.StringIO()
    run(corpus, mfcc, tmp_path / "[red] out", progress=Console(file=output, width=40))
    assert f"{tmp_path}/[red] out: 10 items" in output.getvalue()


def test_a_bar_is_shown_on_a_terminal(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    output = io.StringIO()
    run(corpus, mfcc, tmp_path / "out", progress=Console(file=output, force_terminal=True, width=120))
    assert "x real time" in output.getvalue() and "\x1b[" in output.getvalue()


def test_without_progress_nothing_is_printed(
    corpus: Path, mfcc: Encoder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(corpus, mfcc, tmp_path / "out")
    assert capfd.readouterr() == ("", "")


def test_invalid_requests_write_nothing(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    for options in ({"workers": 0}, {"pooling": "median"}, {"layer": 9}, {"storage": "int8"}):
        with pytest.raises(ConfigError):
            run(corpus, mfcc, tmp_path / "out", **options)
    with pytest.raises(ZooError, match="no audio found"):
        run(tmp_path / "corpus" / "*.flac", mfcc, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ZooError, match="cannot be used as the output folder"):
        run(corpus, mfcc, corpus / "a" / "0.wav")
