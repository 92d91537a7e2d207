"""What is in the folder of a job: the plan and the finished shards."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from zoo.jobs.plan import PLAN_NAME, Shard, read_plan, stamp
from zoo.jobs.retry import CRASHED
from zoo.jobs.shards import Failure, stored_failures
from zoo.jobs.task import Task, empty_plan


class JobFolder:
    """The state of a job, as this process knows it.

    stored: number of each finished shard -> its failures. improvable: finished shards to compute again, because a
    failed item works now. computed: shards that this run has computed. excluded: items that are not tried -> the reason
    of their failure.
    """

    def __init__(self, folder: Path, task: Task) -> None:
        self.folder, self.task = folder, task
        self.plan = empty_plan(task)
        self.shards: list[Shard] = []
        self.stored: dict[int, list[Failure]] = {}
        self.improvable: set[int] = set()
        self.computed: set[int] = set()
        self.excluded: dict[int, str] = {}
        self._stamp: tuple[int, int] | None = None

    def open(self) -> bool:
        """Read the plan in the folder. False if it is gone: another worker has finished the job."""
        self._stamp = stamp(self.folder / PLAN_NAME)
        plan = read_plan(self.folder / PLAN_NAME)
        if plan is None or plan.settings != self.task.settings:
            return False
        self.plan, self.shards, self.stored, self.excluded = plan, plan.shards(), {}, {}
        self.read_shards()
        return True

    def is_current(self) -> bool:
        """Whether the plan in the folder is still the one that was read."""
        return stamp(self.folder / PLAN_NAME) == self._stamp

    def read_shards(self) -> None:
        """Look for shards that are finished now."""
        for shard in self.shards:
            if shard.number not in self.stored:
                failures = stored_failures(self.path(shard), shard)
                if failures is not None:
                    self.stored[shard.number] = failures
                    self.excluded |= {index: reason for index, reason in failures if reason == CRASHED}

    def path(self, shard: Shard) -> Path:
        """The file of a shard."""
        return self.folder / self.plan.name(shard)

    def failures(self) -> list[Failure]:
        """The failures of all finished shards."""
        return list(chain.from_iterable(self.stored.values()))

    def note(self, shard: Shard, *, computed: bool) -> None:
        """Note that a process of the engine has finished a shard."""
        failures = stored_failures(self.path(shard), shard)
        if failures is not None:
            self.stored[shard.number] = failures
            self.improvable.discard(shard.number)
        if computed:
            self.count(shard)

    def count(self, shard: Shard) -> None:
        """Count a shard that this run has computed."""
        self.computed.add(shard.number)
        self.task.collect(self.path(shard), self.plan)
