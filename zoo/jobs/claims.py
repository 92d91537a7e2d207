"""Claims of shards, so that two workers rarely compute the same one.

A claim is a small file in FOLDER/.claims, created with O_EXCL. While its worker lives, the modification time changes
every few seconds. A claim that does not change for LEASE_SECONDS is of a worker that died, and another worker takes it.
Times are only compared with times of the same file, so the clocks of the machines may differ.

Nothing depends on claims but work that is done twice: a shard has the same bytes, whoever writes it.
"""

from __future__ import annotations

import glob
import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

from zoo.io.atomic import MARK

FOLDER = ".claims"
LEASE_SECONDS = 60.0
# A plan is as new as the folder of claims: workers that start together look at the audio files once.
JOIN_SECONDS = 600.0
# Beats in a lease: a worker whose disk hangs for a moment does not lose its claim.
BEATS = 6


class Claims:
    """The claims that one worker holds; `with` gives them back at the end.

    worker: name of the worker, for `zoo jobs status`.
    """

    def __init__(self, folder: Path, worker: str) -> None:
        self.folder = folder / FOLDER
        self.owner = {"worker": worker, "machine": machine(), "pid": os.getpid(), "id": uuid4().hex}
        self.held: set[str] = set()
        self._seen: dict[str, tuple[int, float]] = {}  # modification time of a claim, and when we saw it first
        self._stop = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="zoo-claims", daemon=True)

    def take(self, name: str) -> bool:
        """Claim a shard. False if another worker has it."""
        path = self.folder / name
        for _ in range(3):  # again after a claim ended, or after another worker removed the folder
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            except FileNotFoundError:
                continue
            except FileExistsError:
                if not self._is_abandoned(path):
                    return False
                path.unlink(missing_ok=True)
                for remains in self.folder.parent.glob(f".{glob.escape(name)}.*{MARK}"):
                    remains.unlink(missing_ok=True)
                continue
            with os.fdopen(descriptor, "w") as file:
                json.dump(self.owner, file)
            self.held.add(name)
            return True
        return False

    def holds(self, name: str) -> bool:
        """Whether a claim is still ours: a worker that stood still for a lease loses it."""
        return _read(self.folder / name).get("id") == self.owner["id"]

    def release(self, name: str) -> None:
        """Give a shard back."""
        if name in self.held:
            self.held.discard(name)
            if self.holds(name):
                (self.folder / name).unlink(missing_ok=True)

    def are_idle(self) -> bool:
        """Whether no worker has a claim now. Claims of dead workers are removed."""
        for path in self.folder.glob("*"):
            if not self._is_abandoned(path):
                return False
            path.unlink(missing_ok=True)
        return True

    def clear(self) -> None:
        """Remove all claims: all shards are there, so these are of workers that died after they wrote theirs."""
        for path in self.folder.glob("*"):
            path.unlink(missing_ok=True)

    def announce(self) -> None:
        """Tell workers that start now that the plan is new."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def are_announced(self) -> bool:
        """Whether another worker has just made or used the plan."""
        try:
            return abs(time.time() - self.folder.stat().st_mtime) < JOIN_SECONDS
        except FileNotFoundError:
            return False

    def _is_abandoned(self, path: Path) -> bool:
        """Whether the worker of a claim died: it was a process of this machine, or its claim is as it was."""
        owner = _read(path)
        if owner.get("machine") == self.owner["machine"] and not _lives(owner["pid"]):
            return True
        try:
            beat = path.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        before, since = self._seen.get(path.name, (None, 0.0))
        if before != beat:
            self._seen[path.name] = beat, time.monotonic()
            return False
        return time.monotonic() - since > LEASE_SECONDS

    def _beat(self) -> None:
        while not self._stop.wait(LEASE_SECONDS / BEATS):
            for name in list(self.held):
                with suppress(OSError):
                    os.utime(self.folder / name)

    def __enter__(self) -> Claims:
        self._beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._beating.join()
        for name in list(self.held):
            self.release(name)
        with suppress(OSError):  # another worker has claims
            self.folder.rmdir()


def owners(folder: Path) -> dict[str, dict[str, Any]]:
    """Name of each claimed shard -> its owner, with `age`: seconds since its last beat, by our clock."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((folder / FOLDER).glob("*")):
        with suppress(FileNotFoundError):
            found[path.name] = _read(path) | {"age": max(0.0, time.time() - path.stat().st_mtime)}
    return found


def machine() -> str:
    """This machine, or this container: processes with the same text see each other's process numbers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 (not a path)
    except OSError:  # not Linux
        boot = space = ""
    return f"{socket.gethostname()} {boot} {space}"


def _read(path: Path) -> dict[str, Any]:
    """The owner of a claim; empty if it is gone, or if its worker has not written it yet."""
    try:
        owner = json.loads(path.read_text())
        return owner if isinstance(owner, dict) else {}
    except (OSError, ValueError):
        return {}


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
