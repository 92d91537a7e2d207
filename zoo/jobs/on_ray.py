"""A job on Ray: actors that load the model once and get one shard after the other, the biggest first.

Only numbers of shards and counts pass through Ray; audio and results are read and written by the actors. A worker that
dies is replaced, and its shard is computed again. A shard that kills three workers is split until the item is found.
That item fails by name, and all others have results.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from zoo.errors import ConfigError, MissingDependencyError, ZooError
from zoo.jobs.job import Job
from zoo.jobs.plan import Shard
from zoo.jobs.progress import ProgressMeter
from zoo.jobs.retry import CRASHED
from zoo.jobs.task import Task

MOST_DEATHS = 3


class Count(NamedTuple):
    """What an actor tells about a shard: whether it computed it, and its seconds of audio."""

    computed: bool
    seconds: float


class ShardActor:
    """One process with a task. make_task: called here, so that the model is loaded here. cwd: of the driver."""

    def __init__(self, make_task: Callable[[], Task], folder: Path, threads: int, cwd: str) -> None:
        os.chdir(cwd)
        console = Console(quiet=True)
        self.job = Job(folder, make_task(), (), threads=threads, console=console)
        self.meter = ProgressMeter(console, total=0.0, before=0.0, failed=0)
        self.job.claims.__enter__()
        self.job.open()

    def ready(self) -> None:
        """Returns when the model is loaded."""

    def compute(self, number: int, excluded: dict[int, str], again: bool) -> Count | None:
        """Compute a shard without some items, which fail with these reasons; None if another process has it.

        again: it is finished, but a failed item works now.
        """
        self.job.excluded = excluded
        self.job.improvable = {number} if again else set()
        before = self.meter.embedded
        worked = self.job.compute([self.job.shards[number]], self.meter)
        if number not in self.job.stored:
            return None
        return Count(worked, self.meter.embedded - before)

    def probe(self, indices: Sequence[int]) -> None:
        """Decode and compute items, and drop the results: does it kill the process?"""
        self.job.probe(indices)


class RayRun:
    """Computes the missing shards of a job with Ray, as `Job.compute` does in this process.

    make_task: the task of the job, made in each actor. address: of a running cluster; None: a local one is started if
    there is none. Raises MissingDependencyError without ray.
    """

    def __init__(self, make_task: Callable[[], Task], address: str | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingDependencyError("engine ray needs the package ray: pip install 'audiozoo[ray]'") from error
        self.ray: Any = ray
        self.make_task, self.address = make_task, address
        self.pending: dict[Any, tuple[Any, int | None]] = {}  # reference -> actor, and the number of its shard
        self.deaths: dict[int, int] = {}
        self.excluded: dict[int, str] = {}

    def __call__(self, job: Job, shards: Sequence[Shard], meter: ProgressMeter) -> bool:
        """Compute these shards. False if none could be computed now, because other processes have them."""
        if not shards:
            return False
        if not self.ray.is_initialized():
            self.ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")
        self.job = job
        self.worked = False
        self.queue = sorted(shards, key=job.plan.seconds)  # from its end: the biggest first
        try:
            for _ in range(min(self._slots(), len(self.queue))):
                self._start()
            while self.pending:
                done, _ = self.ray.wait(list(self.pending), num_returns=1)
                self._take(done[0], meter)
        finally:
            for actor, _ in self.pending.values():
                self.ray.kill(actor)
            self.pending.clear()
        return self.worked

    @property
    def _on_gpu(self) -> bool:
        return self.job.task.device == "cuda"

    def _slots(self) -> int:
        resources = self.ray.cluster_resources()
        return max(1, int(resources.get("GPU" if self._on_gpu else "CPU", 0)))

    def _new_actor(self) -> Any:
        kind = self.ray.remote(ShardActor)
        needs = {"num_gpus": 1} if self._on_gpu else {"num_cpus": 1}
        return kind.options(**needs).remote(self.make_task, self.job.folder, self.job.threads, os.getcwd())  # noqa: PTH109

    def _start(self) -> None:
        actor = self._new_actor()
        self.pending[actor.ready.remote()] = actor, None

    def _give(self, actor: Any) -> None:
        """Give the next shard to an actor, or let it go."""
        if not self.queue:
            self.ray.kill(actor)
            return
        shard = self.queue.pop()
        present = set(self.job.plan.present(shard))
        known = self.job.excluded | self.excluded
        excluded = {index: reason for index, reason in known.items() if index in present}
        again = shard.number in self.job.improvable
        self.pending[actor.compute.remote(shard.number, excluded, again)] = actor, shard.number

    def _take(self, reference: Any, meter: ProgressMeter) -> None:
        actor, number = self.pending.pop(reference)
        try:
            count = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, (ZooError, OSError)) else error) from None
        except self.ray.exceptions.RayActorError as error:
            if number is None:
                raise ZooError(f"a Ray actor could not start: {error}") from error
            self._count_death(self.job.shards[number])
            self._start()
            return
        if number is not None and count is not None:
            self.worked = True
            meter.advance(count.seconds)
            self.job.note(self.job.shards[number], computed=count.computed)
        self._give(actor)

    def _count_death(self, shard: Shard) -> None:
        self.deaths[shard.number] = self.deaths.get(shard.number, 0) + 1
        if self.deaths[shard.number] >= MOST_DEATHS:
            plan = self.job.plan
            suspects = [index for batch in plan.batches(shard) for index in batch if index not in self.excluded]
            found = self._find(suspects)
            if not found:
                raise ZooError(
                    f"{plan.name(shard)} kills its process again and again, but its items work in smaller groups: "
                    "perhaps the memory is full; start fewer processes, or use smaller batches"
                )
            self.excluded |= dict.fromkeys(found, CRASHED)
            self.deaths[shard.number] = 0
        self.queue.append(shard)

    def _find(self, suspects: Sequence[int]) -> list[int]:
        """Those of the items that kill their process, found by halves."""
        if not suspects or self._survives(suspects):
            return []
        if len(suspects) == 1:
            return list(suspects)
        middle = len(suspects) // 2
        return self._find(suspects[:middle]) + self._find(suspects[middle:])

    def _survives(self, indices: Sequence[int]) -> bool:
        actor = self._new_actor()
        try:
            self.ray.get(actor.probe.remote(list(indices)))
        except self.ray.exceptions.RayActorError:
            return False
        finally:
            self.ray.kill(actor)
        return True


def choose_engine(
    engine: str, address: str | None, model: object, make_task: Callable[[str | Path], Task]
) -> RayRun | None:
    """The engine of a name: "local" (None: this process computes) or "ray". make_task: makes the task of a model.

    Raises ConfigError for another name, and for a model that other processes cannot load.
    """
    if engine not in ("local", "ray"):
        raise ConfigError(f"engine {engine!r} is unknown; choose local or ray")
    if engine == "local":
        if address is not None:
            raise ConfigError(f"address {address!r}: only engine ray has an address")
        return None
    if not isinstance(model, (str, Path)):
        raise ConfigError("engine ray needs a model that every process can load: give a name or a path")
    return RayRun(partial(make_task, model), address)
