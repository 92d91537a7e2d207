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
from zoo.transcribe.task import TranscribeTask
from zoo.units.task import UnitsTask


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the limits that `many_workers` changes."""
    for task in (UnitsTask, TranscribeTask):
        monkeypatch.setattr(task, "limits", task.limits)


@pytest.fixture
def bad_corpus(corpus: Path) -> Path:
    """Ten items in five shards of two, and one that fails when it is decoded."""
    soundfile.write(corpus / "b" / "7.wav", np.array([0.1, np.nan] * 4000), 16000, subtype="FLOAT")
    return corpus


# Killed before it writes; before its file is complete; before its file has its name.
CASES = ["embed:2", "elsewhere:embed:1"]
MORE = [
    *("embed:1", "embed:4", "units:1", "units:3", "transcribe:1", "transcribe:3"),
    *("elsewhere:close:1", "elsewhere:sync:4"),
]


@pytest.mark.parametrize("cases", [CASES, pytest.param(MORE, marks=pytest.mark.slow)])
def test_any_number_of_workers_gives_the_same_bytes_and_a_dead_one_is_replaced_after_its_lease(
    bad_corpus: Path, tmp_path: Path, cases: list[str]
) -> None:
    ends = [f"{case[10:]} [9, 0]" if case.startswith("else") else f"{case} {[0] * int(case[-1])}" for case in cases]
    assert kill(many_workers.__file__, [bad_corpus, tmp_path / "all"], cases) == ends
    sizes = {"embed": 7, "units": 1, "transcribe": 2 * 9 + 2}
    commands = {case: case.split(":")[0].replace("elsewhere", "embed") for case in cases}
    for command in dict.fromkeys(commands.values()):
        many_workers.COMMANDS[command](str(bad_corpus), tmp_path / command)
        assert len(digests(tmp_path / command)) == sizes[command]
    for case, command in commands.items():
        assert digests(tmp_path / "all" / case) == digests(tmp_path / command), case


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


def test_the_status_of_commands_that_leave_no_plan(
    bad_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command, task, name in (("units", UnitsTask, "units.jsonl"), ("transcribe", TranscribeTask, "")):
        out = tmp_path / command / name
        run = many_workers.COMMANDS[command]
        with monkeypatch.context() as patch:
            patch.setattr(task, "finish", interrupt)
            with pytest.raises(KeyboardInterrupt):
                run(str(bad_corpus), tmp_path / command)
        status = read_status(out)
        assert (status.task, status.done, status.failed, status.left) == (command, 9, 1, 0)
        run(str(bad_corpus), tmp_path / command)
        with pytest.raises(ZooError, match="no unfinished job here"):
            read_status(out)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_invalid_worker_writes_nothing(corpus: Path, mfcc: Encoder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give I/N"):
        embed.run(corpus, mfcc, tmp_path / "out", worker="2/2")
    assert not (tmp_path / "out").exists()
