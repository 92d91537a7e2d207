"""Claims of shards: one owner at a time, taken over from dead workers only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zoo.jobs import claims
from zoo.jobs.claims import Claims, owners


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "LEASE_SECONDS", 0.3)


def leave(folder: Path, name: str, **owner: object) -> Path:
    """A claim of another worker, which is not there to keep it."""
    path = folder / claims.FOLDER / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"worker": "1/2", "machine": "elsewhere", "pid": os.getpid(), "id": "other", **owner}))
    return path


def test_a_claim_has_one_owner(tmp_path: Path) -> None:
    with Claims(tmp_path, "0/2") as one, Claims(tmp_path, "1/2") as two:
        assert one.take("a") and not two.take("a") and two.take("b")
        assert one.holds("a") and not two.holds("a")
        assert {name: owner["worker"] for name, owner in owners(tmp_path).items()} == {"a": "0/2", "b": "1/2"}
        assert not one.are_idle()
        one.release("a")
        assert two.take("a")
        one.release("a")  # not its own
        assert two.holds("a")
    assert list(tmp_path.iterdir()) == []


def test_the_claim_of_a_dead_process_of_this_machine_is_taken_at_once(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    leave(tmp_path, "a", machine=claims.machine(), pid=dead.pid)
    leave(tmp_path, "b", machine=claims.machine())  # of this process, which lives
    with Claims(tmp_path, "0/1") as own:
        assert own.take("a") and not own.take("b")


@pytest.mark.usefixtures("short_lease")
def test_a_claim_from_elsewhere_is_taken_after_its_lease(tmp_path: Path) -> None:
    path = leave(tmp_path, "a")
    os.utime(path, (0, 0))  # the clock of the other machine is wrong
    with Claims(tmp_path, "0/1") as own:
        assert not own.take("a")
        time.sleep(0.2)
        os.utime(path, (1, 1))  # it lives
        time.sleep(0.2)
        assert not own.take("a")
        time.sleep(0.4)
        assert own.take("a") and own.holds("a")


@pytest.mark.usefixtures("short_lease")
def test_a_living_worker_keeps_its_claim_beyond_the_lease(tmp_path: Path) -> None:
    with Claims(tmp_path, "0/2") as one, Claims(tmp_path, "1/2") as two:
        one.owner["machine"] = "elsewhere"
        assert one.take("a")
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            assert not two.take("a")
            time.sleep(0.05)
        assert one.holds("a")


@pytest.mark.usefixtures("short_lease")
def test_a_worker_that_stood_still_notices_it(tmp_path: Path) -> None:
    one = Claims(tmp_path, "0/2")  # not entered: it never beats
    one.owner["machine"] = "elsewhere"
    assert one.take("a")
    with Claims(tmp_path, "1/2") as two:
        assert not two.take("a")
        time.sleep(0.4)
        assert two.take("a") and not one.holds("a")
        one.release("a")
        assert two.holds("a")


def test_half_written_claims_are_left_alone(tmp_path: Path) -> None:
    leave(tmp_path, "a").write_text("")
    with Claims(tmp_path, "0/1") as own:
        assert not own.take("a") and not own.holds("a")
    assert owners(tmp_path)["a"]["age"] >= 0
