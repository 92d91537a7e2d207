"""A run that was killed or stopped at any time can be resumed, and gives the same bytes as one without a stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kill_training import CONFIG, MOMENTS, run
from tiny_task import Tiny, loader, read_corpus, write_corpus

from zoo.errors import CheckpointError, ConfigError, TrainingStopped, ZooError
from zoo.train import TrainConfig, fit

HERE = Path(__file__).parent
CHOSEN = ["step:13", "step:3", "report:8", "tensors:3", "tensors:6", "rename:2", "retain:3", "export:2", "export:99"]


def outcome(folder: Path) -> dict[str, object]:
    """All results of a run, without values that depend on the clock."""
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.glob("checkpoints/**/*") if p.is_file()}
    files |= {f"{n}/weights.pt": (folder / n / "weights.pt").read_bytes() for n in ("best", "last")}
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timed = {"steps_per_second", "data_wait"}
    return files | {"metrics": [{k: v for k, v in record.items() if k not in timed} for record in records]}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Twenty steps without a stop."""
    folder = tmp_path_factory.mktemp("whole")
    run(corpus, folder)
    return outcome(folder)


@pytest.fixture(scope="module")
def killed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one killed run for each of CHOSEN."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, str(HERE / "kill_training.py"), str(corpus), str(folder), *CHOSEN]
    paths = os.pathsep.join([str(HERE), str(HERE.parent / "helpers"), *sys.path])
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, timeout=300)
    deaths = [line.split() for line in done.stdout.splitlines()]
    expected = [[m, "9"] for m in CHOSEN[:-1]] + [[CHOSEN[-1], "not", "killed:", "0"]]
    assert deaths == expected, done.stderr[-2000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("moment", CHOSEN)
def test_a_killed_run_ends_in_the_same_bytes(corpus: Path, whole: dict[str, object], killed: Path, moment: str) -> None:
    folder = killed / moment
    saved = sorted(p.name for p in folder.glob("checkpoints/step-*"))
    if moment == "step:13":
        assert saved == ["step-00000005", "step-00000010"]
    run(corpus, folder)
    assert outcome(folder) == whole
    assert not list(folder.glob("checkpoints/.*"))


def test_all_moments_are_tried() -> None:
    assert {moment.partition(":")[0] for moment in CHOSEN} == set(MOMENTS)


@pytest.mark.parametrize("which", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_saves_and_stops(
    corpus: Path, whole: dict[str, object], tmp_path: Path, which: signal.Signals
) -> None:
    class Signaled(Tiny):
        runs = 0

        def run(self, batch):  # type: ignore[no-untyped-def]
            self.runs += 1
            if self.runs == 7:
                os.kill(os.getpid(), which)
            return super().run(batch)

    entries = read_corpus(corpus)
    before = signal.getsignal(which)
    with pytest.raises(
        TrainingStopped, match=rf"stopped by {which.name} after step \d+, which is saved in .*same command"
    ) as stopped:
        fit(Signaled(), loader(entries), loader(entries, shuffle=False), CONFIG, tmp_path)
    assert stopped.value.signal == which
    assert signal.getsignal(which) is before
    (saved,) = [p.name for p in (tmp_path / "checkpoints").iterdir() if p.name not in ("step-00000005",)]
    assert saved > "step-00000005"
    assert "continuing" not in (tmp_path / "log.txt").read_text()
    run(corpus, tmp_path)
    assert f"continuing after step {int(saved[5:])} of {CONFIG.steps}\n" in (tmp_path / "log.txt").read_text()
    assert outcome(tmp_path)["last/weights.pt"] == whole["last/weights.pt"]
    assert outcome(tmp_path)["metrics"] == whole["metrics"]


def test_a_signal_in_the_last_step_stops_the_recipe(corpus: Path, whole: dict[str, object], tmp_path: Path) -> None:
    class Signaled(Tiny):
        def export(self, directory: Path) -> None:
            super().export(directory)
            if directory.name == "last":
                os.kill(os.getpid(), signal.SIGTERM)

    entries = read_corpus(corpus)
    with pytest.raises(TrainingStopped, match=f"after step {CONFIG.steps}"):
        fit(Signaled(), loader(entries), loader(entries, shuffle=False), CONFIG, tmp_path)
    run(corpus, tmp_path)
    assert outcome(tmp_path) == whole


def test_a_finished_run_is_left_alone(corpus: Path, tmp_path: Path) -> None:
    run(corpus, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("checkpoints/**/*")}
    run(corpus, tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("checkpoints/**/*")} == before


def test_another_configuration_or_other_data_is_refused(corpus: Path, tmp_path: Path) -> None:
    run(corpus, tmp_path)
    entries = read_corpus(corpus)
    other = TrainConfig(**vars(CONFIG) | {"learning_rate": 0.5, "warmup": 0.2, "log_every": 9})
    with pytest.raises(
        ConfigError, match=r"(?s)learning_rate: 0\.01 recorded, 0\.5 now.*warmup: 0\.08 recorded, 0\.2 now"
    ) as error:
        fit(Tiny(), loader(entries), None, other, tmp_path)
    assert "log_every" not in str(error.value)
    with pytest.raises(ConfigError, match="training data"):
        fit(Tiny(), loader(entries[:-1]), loader(entries, shuffle=False), CONFIG, tmp_path)
    with pytest.raises(ConfigError, match="dev data"):
        fit(Tiny(), loader(entries), loader(entries[:-1], shuffle=False), CONFIG, tmp_path)


def test_a_damaged_checkpoint_is_named(corpus: Path, tmp_path: Path) -> None:
    run(corpus, tmp_path)
    for name in ("progress.json", "optimizer.safetensors", "task.safetensors"):
        path = tmp_path / "checkpoints" / "step-00000020" / name
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(CheckpointError, match="step-00000020"):
            run(corpus, tmp_path)
        path.write_bytes(data)


def test_two_runs_never_share_a_folder(corpus: Path, tmp_path: Path) -> None:
    class Second(Tiny):
        def export(self, directory: Path) -> None:
            run(corpus, tmp_path)

    entries = read_corpus(corpus)
    with pytest.raises(ZooError, match="another run is writing"):
        fit(Second(), loader(entries), None, CONFIG, tmp_path)
