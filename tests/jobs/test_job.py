"""Several workers at one job: the same bytes, whoever computes them and whoever dies."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

import many_workers
import numpy as np
import pytest
import soundfile
from dying import kill
from extraction import corpus as corpus
from extraction import mfcc as mfcc
from recordings import write_wav
from typer.testing import CliRunner

from zoo import embed
from zoo.cli.main import app
from zoo.encoder import Encoder
from zoo.errors import ConfigError, ZooError
from zoo.jobs import claims, survey
from zoo.jobs.status import JobStatus, read_status


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture
def bad_corpus(corpus: Path) -> Path:
    """Ten items in five shards of two, and one that fails when it is decoded."""
    soundfile.write(corpus / "b" / "7.wav", np.array([0.1, np.nan] * 4000), 16000, subtype="FLOAT")
    return corpus


def test_any_number_of_workers_gives_the_same_bytes_and_a_dead_one_is_replaced_after_its_lease(
    bad_corpus: Path, tmp_path: Path
) -> None:
    """Killed before it writes, before its file is complete, and before the file has its name."""
    moments = ["embed:1", "close:1", "sync:4"]
    cases = ["1", "2", "4", *(f"elsewhere:{moment}" for moment in moments)]
    ends = ["1 0", *["2 0"] * 2, *["4 0"] * 4, *(f"{moment} [9, 0]" for moment in moments)]
    assert kill(many_workers.__file__, [bad_corpus, tmp_path], cases) == ends
    many_workers.run(str(bad_corpus), tmp_path / "alone")
    expected = digests(tmp_path / "alone")
    assert len(expected) == 7  # the plan, five shards, the errors
    for name in ("1", "2", "4", *moments):
        assert digests(tmp_path / name) == expected


def test_workers_that_start_together_look_at_the_files_once(
    corpus: Path, mfcc: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    whole = survey.file_stamp
    monkeypatch.setattr(survey, "file_stamp", lambda path: looked.append(path) or whole(path))
    counts = []
    for worker in ("0/2", "1/2", None):
        (tmp_path / "out" / claims.FOLDER).mkdir(parents=True)  # another worker has just made its plan
        embed.run(corpus, mfcc, tmp_path / "out", worker=worker, progress=False)
        counts.append(len(looked))
    assert counts == [10, 10, 20]
    write_wav(corpus / "z.wav", 0.5)
    assert embed.run(corpus, mfcc, tmp_path / "out", worker="0/2", progress=False).embedded == 1


def test_a_plan_that_grows_while_another_run_computes(
    corpus: Path, mfcc: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, options = tmp_path / "out", {"shard_items": 2, "progress": False}
    whole = type(mfcc).embed
    grown = threading.Event()

    def slow(*args: object, **options: object) -> object:
        if threading.current_thread() is not grower:
            assert grown.wait(10)
        return whole(*args, **options)  # type: ignore[arg-type]

    def grow() -> None:
        while not (out / claims.FOLDER / "part-00000.parquet").exists():
            pass
        write_wav(corpus / "z.wav", 0.5)
        monkeypatch.setattr(claims, "LEASE_SECONDS", 60.0)
        threading.Timer(0.3, grown.set).start()
        embed.run(corpus, mfcc, out, **options)

    grower = threading.Thread(target=grow)
    monkeypatch.setattr(type(mfcc), "embed", slow)
    grower.start()
    embed.run(corpus, mfcc, out, **options)
    grower.join()
    assert len(embed.load(out).paths) == 11
    assert sorted(path.name for path in out.iterdir()) == ["_plan.jsonl", *(f"part-0000{i}.parquet" for i in range(6))]


def test_the_status_of_a_job(bad_corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ZooError, match="no job here"):
        read_status(out)
    embed.run(bad_corpus, mfcc, out, shard_items=2, progress=False)
    done = read_status(out)
    assert (done.items, done.done, done.failed, done.claimed, done.left) == (10, 9, 1, 0, 0)
    assert done.shards == done.shards_done == 5 and done.hours_done == done.hours > 0 and done.speed > 0
    (out / "part-00001.parquet").unlink()
    (out / "part-00004.parquet").unlink()
    own = claims.Claims(out, "3/8")
    assert own.take("part-00004.parquet")
    now = read_status(out)
    assert (now.done, now.failed, now.claimed, now.left) == (5, 1, 2, 2)
    assert [(one.shard, one.worker) for one in now.workers] == [("part-00004.parquet", "3/8")]
    shown = CliRunner().invoke(app, ["jobs", "status", str(out)])
    assert shown.exit_code == 0 and "zoo embed: 5 items done, 1 failed, 2 claimed, 2 left" in shown.output
    assert "part-00004.parquet: worker 3/8 on " in shown.output
    plain = json.loads(CliRunner().invoke(app, ["jobs", "status", str(out), "--json"]).output)
    assert plain["left"] == 2 and set(plain) == set(JobStatus.__dataclass_fields__)


def test_an_invalid_worker_writes_nothing(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give I/N"):
        embed.run(corpus, mfcc, tmp_path / "out", worker="2/2")
    assert not (tmp_path / "out").exists()
