"""A run that is started again: resumed after a kill, repeated, rejected, updated."""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kill_runs
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from dying import environment, kill
from quiet_runs import digests
from recordings import write_corpus, write_wav
from rich.console import Console
from small import small

from zoo import embed
from zoo.encoder import Encoder
from zoo.errors import ZooError
from zoo.jobs import plan as planning
from zoo.jobs import survey
from zoo.jobs.lists import Item

HERE = Path(__file__).parent


def run(paths: object, model: object, out: Path, **options: object) -> embed.EmbedSummary:
    return embed.run(paths, model, out, **{"progress": False, "shard_items": 3, **options})  # type: ignore[arg-type]


@pytest.fixture
def bad_corpus(corpus: Path) -> Path:
    """Eleven items in shards of 3, 3, 3 and 2; the second fails by its header, the ninth when it is decoded."""
    (corpus / "a" / "0bad.wav").write_text("no audio")
    soundfile.write(corpus / "b" / "7.wav", np.array([0.1, np.nan] * 4000), 16000, subtype="FLOAT")
    return corpus


MOMENTS = [
    *("replace:1", "embed:1", "embed:4", "write:1", "write:3", "close:2", "sync:3", "sync:4"),
    *("replace:2", "replace:3", "replace:5"),
]


def test_killed_at_any_moment_and_run_again_it_leaves_the_same_bytes(bad_corpus: Path, tmp_path: Path) -> None:
    kill_runs.run(str(bad_corpus), tmp_path / "whole")
    expected = digests(tmp_path / "whole")
    assert len(expected) == 6 and "_errors.jsonl" in expected  # the plan, four shards
    assert kill(kill_runs.__file__, [bad_corpus, tmp_path], MOMENTS) == [f"{moment} 9" for moment in MOMENTS]
    states = set()
    for moment in MOMENTS:
        out = tmp_path / moment
        partial = digests(out)
        states.add(frozenset(partial))
        assert all(partial[name] == expected[name] for name in partial if name.startswith("part"))
        kill_runs.run(str(bad_corpus), out)
        assert digests(out) == expected, moment
    assert len(states) >= 6  # the moments were different ones


@pytest.mark.slow
def test_killed_from_outside_again_and_again(bad_corpus: Path, tmp_path: Path) -> None:
    """Runs of a process that is killed after some time, until one run finishes."""
    kill_runs.run(str(bad_corpus), tmp_path / "whole")
    code = (
        "import sys, time, kill_runs; from zoo.encoder import Encoder; from pathlib import Path\n"
        "whole = Encoder.embed\n"
        "def slow(*a, **k): time.sleep(0.1); return whole(*a, **k)\n"
        "Encoder.embed = slow; print('ready', flush=True); kill_runs.run(sys.argv[1], Path(sys.argv[2]))"
    )
    for wait in (0.15, 0.5):
        process = subprocess.Popen(
            [sys.executable, "-c", code, bad_corpus, tmp_path / "out"],
            env=environment(HERE),
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(wait)
        process.kill()
        process.wait()
        process.stdout.close()
    kill_runs.run(str(bad_corpus), tmp_path / "out")
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_an_interrupt_leaves_finished_shards_and_no_threads(
    corpus: Path, hubert: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(corpus, hubert, tmp_path / "whole")
    whole = type(hubert).embed
    calls = 0

    def embed(*args: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return whole(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(type(hubert), "embed", embed)
    with pytest.raises(KeyboardInterrupt):
        run(corpus, hubert, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("part-*")) == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    summary = run(corpus, hubert, tmp_path / "out")
    assert (summary.embedded, summary.skipped) == (4, 6)
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_a_finished_run_does_nothing_and_prints_it(
    bad_corpus: Path, hubert: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(bad_corpus, hubert, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")}
    bytes_before = digests(tmp_path / "out")
    opened: list[str] = []
    probe = survey.audio.probe
    monkeypatch.setattr(survey.audio, "probe", lambda path: opened.append(Path(path).name) or probe(path))
    output = io.StringIO()
    summary = run(bad_corpus, hubert, tmp_path / "out", progress=Console(file=output, width=300))
    assert (summary.embedded, summary.skipped, summary.failed, summary.audio_hours) == (0, 9, 2, 0)
    assert "nothing new, 9 items" in output.getvalue() and "2 failed" in output.getvalue()
    assert {path: path.stat().st_mtime_ns for path in before} == before and digests(tmp_path / "out") == bytes_before
    assert opened == ["0bad.wav"]  # only files without a readable header are opened again


OTHER = [
    ({"layer": 0}, r"layers \[3\] \(now \[0\]\)"),
    ({"pooling": "max"}, r"pooling 'mean' \(now 'max'\)"),
    ({"pooling": None}, r"pooling 'mean' \(now None\)"),
    ({"storage": "float16"}, "storage"),
    ({"batch_seconds": 9.0}, "batch_seconds"),
    ({"shard_items": 4}, "shard_items"),
]


@pytest.mark.parametrize(("options", "words"), OTHER)
def test_other_settings_are_an_error(corpus: Path, hubert: Encoder, tmp_path: Path, options: dict, words: str) -> None:
    run(corpus, hubert, tmp_path / "out")
    before = digests(tmp_path / "out")
    with pytest.raises(ZooError, match=words):
        run(corpus, hubert, tmp_path / "out", **options)
    assert digests(tmp_path / "out") == before


def test_another_model_another_version_and_other_inputs_are_errors(
    corpus: Path, hubert: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(corpus, hubert, tmp_path / "out")
    before = digests(tmp_path / "out")
    with pytest.raises(ZooError, match="fingerprint"):
        run(corpus, small("hubert-base", seed=1), tmp_path / "out")
    with pytest.raises(ZooError, match=r"has 4 items .*\(.*6\.wav, .*7\.wav, \.\.\.\)"):
        run(corpus / "a", hubert, tmp_path / "out")
    assert run([corpus / "b", corpus / "a"], hubert, tmp_path / "out").skipped == 10  # the order stays
    with monkeypatch.context() as patch:
        patch.setattr("zoo.embed.settings.__version__", "99")
        with pytest.raises(ZooError, match=r"zoo '.*' \(now '99'\)"):
            run(corpus, hubert, tmp_path / "out")
    assert digests(tmp_path / "out") == before
    assert run(corpus, hubert, tmp_path / "out").skipped == 10


def test_new_files_are_added_at_the_end_and_existing_shards_stay(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    run(corpus, hubert, tmp_path / "out")
    before = digests(tmp_path / "out")
    for number, name in enumerate(("a/00.wav", "z.wav"), 1):
        write_wav(corpus / name, 0.5)
        summary = run(corpus, hubert, tmp_path / "out")
        assert (summary.embedded, summary.skipped) == (1, 9 + number)
        assert run(corpus, hubert, tmp_path / "out").skipped == 10 + number
    after = digests(tmp_path / "out")
    assert all(after[name] == digest for name, digest in before.items() if name.startswith("part"))
    stored = embed.load(tmp_path / "out")
    assert [Path(path).name for path in stored.paths] == [*(f"{i}.wav" for i in range(10)), "00.wav", "z.wav"]
    assert len(stored.vectors) == 12


def test_new_spans_of_a_file_are_added_at_the_end_with_or_without_the_file(hubert: Encoder, tmp_path: Path) -> None:
    write_wav(tmp_path / "long.wav", 3.0)
    items = [Item(str(tmp_path / "long.wav"), start, start + 1.0) for start in (0.0, 1.0, 2.0)]
    run(items[:1], hubert, tmp_path / "out")
    before = digests(tmp_path / "out")
    assert run(items[:2], hubert, tmp_path / "out").embedded == 1
    assert digests(tmp_path / "out")["part-00000.parquet"] == before["part-00000.parquet"]
    (tmp_path / "long.wav").unlink()
    summary = run(items, hubert, tmp_path / "out")
    assert (summary.embedded, summary.skipped, summary.failed) == (0, 2, 1)


def test_equal_relative_paths_in_another_folder_are_other_files(
    hubert: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        write_corpus(tmp_path / name / "corpus")
    monkeypatch.chdir(tmp_path / "one")
    run("corpus", hubert, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "two")
    with pytest.raises(ZooError, match=r"was started in .*one"):
        run("corpus", hubert, tmp_path / "out")
    (tmp_path / "one").rename(tmp_path / "moved")  # the same files, moved; they have the same times
    monkeypatch.chdir(tmp_path / "moved")
    assert run("corpus", hubert, tmp_path / "out").skipped == 10


def test_shards_with_a_changed_file_are_computed_again(bad_corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    run(bad_corpus, hubert, tmp_path / "out")
    before = {path.name: path.stat().st_ino for path in (tmp_path / "out").glob("part-*")}
    write_wav(bad_corpus / "b" / "7.wav", 0.7, seed=7)
    summary = run(bad_corpus, hubert, tmp_path / "out")
    assert (summary.embedded, summary.skipped, summary.failed) == (3, 7, 1)
    after = {path.name: path.stat().st_ino for path in (tmp_path / "out").glob("part-*")}
    assert [before[name] == after[name] for name in sorted(before)] == [True, True, False, True]
    run(bad_corpus, hubert, tmp_path / "fresh")
    assert digests(tmp_path / "out") == digests(tmp_path / "fresh")


def test_a_part_that_the_plan_no_longer_has_is_removed(
    corpus: Path, hubert: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long files that became short ones need fewer shards."""
    monkeypatch.setattr(embed.task, "SHARD_SECONDS", 1.5)
    run(corpus, hubert, tmp_path / "out")
    before = len(digests(tmp_path / "out"))
    for i in range(6):
        write_wav(corpus / "a" / f"{i}.wav", 0.2, seed=i)
    run(corpus, hubert, tmp_path / "out")
    run(corpus, hubert, tmp_path / "fresh")
    assert digests(tmp_path / "out") == digests(tmp_path / "fresh")
    assert len(digests(tmp_path / "out")) < before


def test_embeddings_of_a_deleted_file_are_kept(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    files = sorted(corpus.rglob("*.wav"))
    for file in files:
        (tmp_path / file.name).symlink_to(file)
    links = sorted(tmp_path.glob("*.wav"))
    run(links, hubert, tmp_path / "out")
    files[0].unlink()
    before = digests(tmp_path / "out")
    assert run(links, hubert, tmp_path / "out").skipped == 10
    assert digests(tmp_path / "out") == before


def test_two_runs_at_once_share_the_work(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    run(corpus, hubert, tmp_path / "whole", shard_items=1)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run, corpus, small("hubert-base"), tmp_path / "out", shard_items=1) for _ in range(2)]
    summaries = [run.result() for run in runs]
    assert sum(summary.embedded for summary in summaries) == 10
    assert all(summary.embedded + summary.skipped == 10 for summary in summaries)
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_a_run_waits_while_another_plans(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    descriptor = os.open(tmp_path / "out", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(run, corpus, mfcc, tmp_path / "out")
        time.sleep(0.1)
        assert not list((tmp_path / "out").iterdir())
        os.close(descriptor)
        assert waiting.result().embedded == 10


def test_a_folder_with_unknown_parts_is_not_changed(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "part-0.parquet").write_text("mine")
    with pytest.raises(ZooError, match="not written by zoo embed"):
        run(corpus, hubert, tmp_path / "out")
    assert (tmp_path / "out" / "part-0.parquet").read_text() == "mine"


def test_damage_is_detected(corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(corpus, hubert, out)
    before = digests(out)
    data = (out / "part-00001.parquet").read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for damaged in (data[: len(data) // 2], data[:footer] + bytes(64) + data[footer + 64 :]):
        (out / "part-00001.parquet").write_bytes(damaged)
        assert run(corpus, hubert, out).embedded == 3
        assert digests(out) == before
    plan = (out / planning.PLAN_NAME).read_text()
    for broken in (plan[: len(plan) // 2], plan.rsplit("\n", 2)[0], "", "{}", plan.replace('"format":3', '"format":1')):
        (out / planning.PLAN_NAME).write_text(broken)
        with pytest.raises(ZooError, match=r"damaged plan|format 1"):
            run(corpus, hubert, out)


def test_each_file_is_complete_in_itself(bad_corpus: Path, hubert: Encoder, tmp_path: Path) -> None:
    """_errors.jsonl is made from the shards, so it can be restored."""
    run(bad_corpus, hubert, tmp_path / "out")
    before = digests(tmp_path / "out")
    (tmp_path / "out" / "_errors.jsonl").unlink()
    run(bad_corpus, hubert, tmp_path / "out")
    assert digests(tmp_path / "out") == before
    assert pq.read_table(tmp_path / "out" / "part-00002.parquet").num_rows == 2
