"""How far a job is: read from its folder, while workers compute or after they died."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.io.text import clock
from zoo.jobs import claims
from zoo.jobs.plan import FOLDER, PLAN_NAME, Plan, Shard, hidden_folder, read_plan
from zoo.jobs.shards import stored_failures

# The speed is that of the last so many seconds.
RECENT_SECONDS = 900.0


@dataclass(frozen=True)
class Claimed:
    """A shard in work. beat: seconds since its worker gave a sign of life."""

    shard: str
    worker: str
    machine: str
    beat: float


@dataclass(frozen=True)
class JobStatus:
    """Counts of items: done + failed + claimed + left = items; of shards: shards_done of shards. Audio in hours.

    done: with a result. failed: in finished shards. claimed: in shards that a worker has now. left: all others.
    speed: seconds of audio per second in the last quarter of an hour, of all workers; 0 if nothing was finished then.
    """

    task: str
    items: int
    done: int
    failed: int
    claimed: int
    left: int
    shards: int
    shards_done: int
    hours: float
    hours_done: float
    speed: float
    workers: tuple[Claimed, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The status as lines of text."""
        left = (self.hours - self.hours_done) * 3600
        eta = f", {clock(left / self.speed)} left" if self.speed and left else ""
        counts = f"{self.done} items done, {self.failed} failed, {self.claimed} claimed, {self.left} left"
        lines = [
            f"zoo {self.task}: {counts}",
            f"{self.shards_done} of {self.shards} shards, {self.hours_done:.2f} of {self.hours:.2f} h, "
            f"{self.speed:.1f}x real time{eta}",
        ]
        for one in self.workers:
            lines.append(f"{one.shard}: worker {one.worker} on {one.machine}, {one.beat:.0f} s ago")
        return lines


def read_status(out: Path) -> JobStatus:
    """The status of the job that writes `out`, a folder or a file. Raises ZooError if there is none."""
    folder, plan = _find(out)
    owners = claims.owners(folder)
    shards = plan.shards()
    finished: list[Shard] = []
    failed = claimed = 0
    for shard in shards:
        failures = stored_failures(folder / plan.name(shard), shard)
        if failures is not None:
            finished.append(shard)
            failed += len(failures)
        elif plan.name(shard) in owners:
            claimed += len(plan.present(shard))
    items = len(plan.items) - len(plan.removed)
    finished_items = sum(len(plan.present(shard)) for shard in finished)
    return JobStatus(
        task=plan.task,
        items=items,
        done=finished_items - failed,
        failed=failed,
        claimed=claimed,
        left=items - finished_items - claimed,
        shards=len(shards),
        shards_done=len(finished),
        hours=sum(map(plan.seconds, shards)) / 3600,
        hours_done=sum(map(plan.seconds, finished)) / 3600,
        speed=_speed(folder, plan, finished),
        workers=tuple(_claimed(shard, owner) for shard, owner in owners.items()),
    )


def _find(out: Path) -> tuple[Path, Plan]:
    """The folder of a job, and its plan."""
    for folder in (out, out / FOLDER, hidden_folder(out)):
        plan = read_plan(folder / PLAN_NAME) if folder.is_dir() else None
        if plan is not None:
            return folder, plan
    if out.exists():
        raise ZooError(f"{out}: no unfinished job here; it is finished, or not the --out of embed, units or transcribe")
    raise ZooError(f"{out}: no job here; give the --out of embed, units or transcribe")


def _claimed(shard: str, owner: dict[str, Any]) -> Claimed:
    machine = str(owner.get("machine", "?")).partition(" ")[0]
    return Claimed(shard, str(owner.get("worker", "?")), machine, owner["age"])


def _speed(folder: Path, plan: Plan, finished: list[Shard]) -> float:
    """Audio of the shards that were finished lately, per second since the one before them was finished."""
    times = sorted(((folder / plan.name(shard)).stat().st_mtime, plan.seconds(shard)) for shard in finished)
    begin = time.time() - RECENT_SECONDS
    before = [when for when, _ in times if when <= begin]
    recent = [(when, seconds) for when, seconds in times if when > begin]
    if not recent:
        return 0.0
    # The begin of the first of all shards is unknown, so its audio does not count.
    since = max(begin, before[-1]) if before else recent[0][0]
    audio = sum(seconds for when, seconds in recent if when > since)
    return audio / max(time.time() - since, 1e-9)
