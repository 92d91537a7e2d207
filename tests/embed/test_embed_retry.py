"""Items that failed are tried again at each run, and results that exist are not lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from quiet_runs import digests, read, run
from recordings import write_wav

from zoo import audio
from zoo.encoder import Encoder
from zoo.errors import AudioError
from zoo.jobs import decode


def failing(*names: str) -> Callable[..., Any]:
    """A replacement of `audio.load` that cannot open the files with these names."""
    load = audio.load

    def fail(path: str, *args: object, **options: object) -> object:
        if Path(path).name in names:
            raise AudioError(path, "no such file")
        return load(path, *args, **options)  # type: ignore[arg-type]

    return fail


def test_files_that_were_away_are_embedded_by_the_next_run(
    corpus: Path, hubert: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(corpus, hubert, tmp_path / "clean", shard_items=4, batch_seconds=2.0)
    with monkeypatch.context() as patch:
        patch.setattr(decode.audio, "load", failing(*(f"{i}.wav" for i in range(5, 10))))
        first = run(corpus, hubert, tmp_path / "out", shard_items=4, batch_seconds=2.0)
        assert (first.embedded, first.failed) == (5, 5)
        kept = digests(tmp_path / "out")
        again = run(corpus, hubert, tmp_path / "out", shard_items=4, batch_seconds=2.0)
        assert (again.embedded, again.skipped, again.failed) == (0, 5, 5)
        assert digests(tmp_path / "out") == kept
    last = run(corpus, hubert, tmp_path / "out", shard_items=4, batch_seconds=2.0)
    assert (last.embedded, last.skipped, last.failed) == (6, 4, 0)
    assert digests(tmp_path / "out") == digests(tmp_path / "clean")


def test_a_shard_is_kept_if_another_of_its_files_is_away_now(
    corpus: Path, mfcc: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(decode.audio, "load", failing("3.wav"))
        assert run(corpus, mfcc, tmp_path / "out").failed == 1
    kept = digests(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(decode.audio, "load", failing("0.wav"))
        summary = run(corpus, mfcc, tmp_path / "out")
    assert (summary.embedded, summary.skipped, summary.failed) == (0, 9, 1)
    assert digests(tmp_path / "out") == kept
    assert run(corpus, mfcc, tmp_path / "out").failed == 0
    assert [row["item"] for row in read(tmp_path / "out")] == list(range(10))


def test_an_item_that_the_encoder_rejected_is_tried_again(
    corpus: Path, mfcc: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reject(*args: object, **options: object) -> None:
        raise AudioError("waveform 0", "out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(type(mfcc), "embed", reject)
        assert run(corpus, mfcc, tmp_path / "out").failed == 10
        assert run(corpus, mfcc, tmp_path / "out").failed == 10
    assert run(corpus, mfcc, tmp_path / "out").failed == 0
    assert not (tmp_path / "out" / "_errors.jsonl").exists()


def test_one_bad_line_of_a_list_fails_by_name(tmp_path: Path, mfcc: Encoder) -> None:
    """A null character, a lone surrogate, and a time that no recording has."""
    write_wav(tmp_path / "ok.wav", 0.5)
    lines = [
        {"audio": "a\0b.wav"},
        {"audio": "\ud800.wav"},
        {"audio": "ok.wav", "start": 0, "end": 1e308},
        {"audio": "ok.wav"},
    ]
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = run(tmp_path / "list.jsonl", mfcc, tmp_path / "out")
    assert (summary.embedded, summary.failed) == (1, 3)
    errors = [json.loads(line) for line in (tmp_path / "out" / "_errors.jsonl").read_text().splitlines()]
    assert [Path(error["path"]).name for error in errors] == ["a\0b.wav", r"\ud800.wav", "ok.wav"]
    assert [word in error["reason"] for word, error in zip(("name", "name", "span"), errors, strict=True)] == [True] * 3
    assert run(tmp_path / "list.jsonl", mfcc, tmp_path / "out").failed == 3


def test_the_folder_is_one_parquet_data_set_even_with_failures(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    (corpus / "bad.wav").write_text("no audio")
    assert run(corpus, mfcc, tmp_path / "out", shard_items=3).failed == 1
    assert len(pq.read_table(tmp_path / "out")) == 10
