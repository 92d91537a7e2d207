"""The one engine for work over many items: plan, claim, compute, write, finish.

items --> prepare --> claim a shard --> ahead ==threads==> task.compute --> task.writer --> part-00000.parquet
          _plan.jsonl .claims/                               failures -----------------> _errors.jsonl

Any number of processes may run the same job in one folder, on one machine or on many that share a disk. The folder is
locked while planning and finishing only. A shard has the same bytes, whoever computes it, and appears complete by one
rename. So each result is there exactly once, whatever is killed and whenever.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from zoo.audio import Clip
from zoo.io.locks import lock_folder, sweep
from zoo.io.terminal import print_plain
from zoo.jobs import decode
from zoo.jobs.claims import Claims
from zoo.jobs.folder import JobFolder
from zoo.jobs.lists import Item
from zoo.jobs.plan import Plan, Shard
from zoo.jobs.prepare import Request, can_join, prepare
from zoo.jobs.progress import ProgressMeter
from zoo.jobs.retry import improvable_shards, loses_items
from zoo.jobs.shards import Failure, stored_failures, write_errors
from zoo.jobs.survey import Planned
from zoo.jobs.task import Decoded, Task, empty_plan
from zoo.jobs.workers import ALONE, Worker

# Seconds between two looks at the shards of other workers: short after work, then longer.
FIRST_WAIT, LONGEST_WAIT = 0.05, 5.0
# Goes through the decoding threads before the items of each shard.
_START = Planned("", None, None, None, None, 0.0)


@dataclass(frozen=True)
class JobResult:
    """The end of a job: all shards are there.

    failures: of the whole folder. computed: numbers of the shards that this process computed.
    """

    plan: Plan
    failures: list[Failure]
    computed: frozenset[int]
    meter: ProgressMeter

    def count_computed(self) -> int:
        """Items with results that this process computed."""
        failed = {failure.item_index for failure in self.failures}
        shards = [shard for shard in self.plan.shards() if shard.number in self.computed]
        return sum(index not in failed for shard in shards for index in self.plan.present(shard))


# Computes shards of a job, as `Job.compute` does.
Engine = Callable[["Job", Sequence[Shard], ProgressMeter], bool]


class Job(JobFolder):
    """One job in one folder.

    items: all inputs, of which the task selects. threads: decoding threads. worker: this process among others.
    prune: drop items that are no longer in `items`. title: of the output, in messages; default: the folder.
    engine: computes shards somewhere else than in this process.
    """

    def __init__(
        self,
        folder: Path,
        task: Task,
        items: Sequence[Item],
        *,
        threads: int,
        console: Console,
        worker: Worker = ALONE,
        prune: bool = False,
        title: Path | None = None,
        engine: Engine | None = None,
    ) -> None:
        super().__init__(folder, task)
        self.items, self.threads, self.console = items, threads, console
        self.worker, self.prune, self.title = worker, prune, title or folder
        self.engine = engine
        self.claims = Claims(folder, str(worker))

    def run(self) -> JobResult:
        """Compute all shards, together with other workers; return when all are there.

        Raises ZooError as `prepare`, and what the task raises.
        """
        with self.claims:
            with lock_folder(self.folder, shared=True):
                if self.claims.are_idle():
                    sweep(self.folder)
                self._plan()
                self.claims.announce()
                self.open()
            self.improvable = self._find_improvable()
            with self._meter() as meter:
                self._work(meter)
        return JobResult(self.plan, self.failures(), frozenset(self.computed), meter)

    def _plan(self) -> None:
        """Make the plan in the folder, or bring it up to date. Workers that start together do it once."""
        new = empty_plan(self.task)
        several = self.worker.count > 1
        if several and self.claims.are_announced() and can_join(self.folder, new, self.items):
            return
        request = Request(self.items, self.task.select(self.items), self.title, self.prune)
        prepare(self.folder, request, new, self.threads, self.console)

    def _work(self, meter: ProgressMeter) -> None:
        wait = FIRST_WAIT
        said = False
        while not self._finish():
            shards = self._missing()
            if self.engine(self, shards, meter) if self.engine is not None else self.compute(shards, meter):
                wait = FIRST_WAIT
                continue
            if wait > 1.0 and not said:
                said = True
                print_plain(self.console, f"{self.title}: waiting for {len(self._missing())} shards of other workers")
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    def probe(self, indices: Sequence[int]) -> None:
        """Decode and compute items together, and drop the results."""
        clips = [(index, self.task.read(self.plan.items[index])) for index in indices]
        batch = [self._decoded(index, clip) for index, clip in clips if not isinstance(clip, str)]
        for _ in self.task.compute(batch, lambda seconds: None):
            pass

    def _decoded(self, index: int, clip: Clip) -> Decoded:
        return Decoded(index, self.plan.items[index], clip, self.plan.labels_of(index))

    def _tried(self, shard: Shard) -> Iterator[list[int]]:
        """The items of each batch that are tried."""
        for batch in self.plan.batches(shard):
            yield [index for index in batch if index not in self.excluded]

    def _missing(self) -> list[Shard]:
        """The shards to compute, this worker's share first."""
        left = [shard for shard in self.shards if shard.number not in self.stored or shard.number in self.improvable]
        return sorted(left, key=lambda shard: not self.worker.owns(shard.number))

    def _find_improvable(self) -> set[int]:
        """Numbers of the finished shards of this worker's share with a failed item that works now."""
        own = {
            shard: self.stored[shard.number]
            for shard in self.shards
            if shard.number in self.stored and self.worker.owns(shard.number)
        }
        return {shard.number for shard in improvable_shards(self.plan, own, self.task, self.threads)}

    def _meter(self) -> ProgressMeter:
        done = [shard for shard in self.shards if shard.number in self.stored and shard.number not in self.improvable]
        return ProgressMeter(
            self.console,
            total=sum(map(self.plan.seconds, self.shards)),
            before=sum(map(self.plan.seconds, done)),
            failed=sum(len(self.stored[shard.number]) for shard in done),
        )

    def compute(self, shards: Sequence[Shard], meter: ProgressMeter) -> bool:
        """Compute those of the shards that no other worker has. Returns whether there was one.

        Decoding runs ahead across batches and shards, so the encoder waits for the first file only.
        """
        claimed: deque[Shard] = deque()
        requests = self._requests(shards, claimed, meter)
        seconds = self.task.look_ahead_seconds
        worked = False
        with closing(decode.ahead(requests, self._read, workers=self.threads, look_ahead_seconds=seconds)) as clips:
            for _ in clips:
                self._compute_shard(claimed.popleft(), clips, meter)
                worked = True
        return worked

    def _requests(self, shards: Sequence[Shard], claimed: deque[Shard], meter: ProgressMeter) -> Iterator[Planned]:
        """Claim shard after shard as the items are needed. Yields the items of each shard, after a start mark."""
        for shard in shards:
            if not self.is_current():
                return  # another run changed the plan
            if self._claim(shard, meter):
                claimed.append(shard)
                yield _START
                for batch in self._tried(shard):
                    yield from (self.plan.items[index] for index in batch)

    def _read(self, item: Planned) -> Clip | str:
        return "" if item is _START else self.task.read(item)

    def _claim(self, shard: Shard, meter: ProgressMeter) -> bool:
        name = self.plan.name(shard)
        if not self._is_open(shard, meter) or not self.claims.take(name):
            return False
        if self._is_open(shard, meter):
            return True
        self.claims.release(name)  # another worker has finished it since
        return False

    def _is_open(self, shard: Shard, meter: ProgressMeter) -> bool:
        """Whether a shard is to be computed. One that another worker has finished is counted."""
        if shard.number in self.improvable:
            return True
        failures = stored_failures(self.path(shard), shard)
        if failures is None:
            return True
        self.stored[shard.number] = failures
        meter.skip(self.plan.seconds(shard), len(failures))
        return False

    def _compute_shard(self, shard: Shard, clips: Iterator[decode.Outcome], meter: ProgressMeter) -> None:
        path = self.path(shard)
        with closing(self.task.writer(path, self.plan, shard)) as writer:
            for outcome in self._outcomes(shard, clips, meter):
                writer.add(outcome)
                if isinstance(outcome, Failure):
                    meter.fail(self.plan.items[outcome.item_index].seconds)
            before = stored_failures(path, shard)
            if before is not None and loses_items(before, writer.failures):
                self.stored[shard.number] = before
            elif self.claims.holds(path.name):
                writer.commit()
                self.stored[shard.number] = writer.failures
                self.count(shard)
        self.improvable.discard(shard.number)
        self.claims.release(path.name)
        if self.stored.get(shard.number):
            self._write_errors()

    def _write_errors(self) -> None:
        """List the failures so far, unless another worker has finished the job since."""
        if self.task.errors is None:
            return
        with lock_folder(self.folder, shared=True):
            if self.is_current():
                self.read_shards()
                write_errors(self.task.errors, self.plan, self.failures())

    def _outcomes(self, shard: Shard, clips: Iterator[decode.Outcome], meter: ProgressMeter) -> Iterator[Any]:
        """Results and failures of all items of a shard. clips: the decoded items of its batches, in order."""
        for index in self.plan.present(shard):
            reason = self.plan.items[index].reason
            if reason is not None:
                yield Failure(index, reason)
            elif index in self.excluded:
                yield Failure(index, self.excluded[index])
        for indices in self._tried(shard):
            batch: list[Decoded] = []
            for index, (_, clip) in zip(indices, islice(clips, len(indices)), strict=True):
                if isinstance(clip, str):
                    yield Failure(index, clip)
                else:
                    batch.append(self._decoded(index, clip))
                del clip  # a long one is a temporary file; free it before the next batch is decoded
            yield from self.task.compute(batch, meter.advance)

    def _finish(self) -> bool:
        """Finish the folder if all shards are there, or if another worker has finished it."""
        if not self.is_current() and not self.open():
            return True
        self.read_shards()
        if self._missing():
            return False
        with lock_folder(self.folder, shared=True):
            if not self.is_current():
                return False
            failures = self.failures()
            if self.task.errors is not None:
                write_errors(self.task.errors, self.plan, failures)
            names = {self.plan.name(shard) for shard in self.shards}
            for path in self.folder.glob(f"part-*{self.plan.suffix}"):
                if path.name not in names:  # with changed files there can be fewer shards
                    path.unlink(missing_ok=True)
            self.task.finish(self.folder, self.plan, failures)
            self.claims.clear()
        return True
