"""What a job computes. Each command is one task; the engine (`zoo.jobs.job`) is the same for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from zoo.audio import Clip
from zoo.jobs.lists import Item, Label
from zoo.jobs.plan import Limits, Plan, Shard
from zoo.jobs.shards import Failure, ShardWriter
from zoo.jobs.survey import Planned


class Decoded(NamedTuple):
    """A decoded item. item_index: in the plan; labels: of `select`."""

    item_index: int
    item: Planned
    clip: Clip
    labels: tuple[Label, ...] = ()


# Called with seconds of audio as they are processed.
Advance = Callable[[float], None]


class Task(Protocol):
    """How to read an item, compute a batch and write a shard.

    name: the command. settings: everything besides the audio that the results depend on, as plain JSON values.
    suffix: of the files of shards. look_ahead_seconds: audio that is decoded ahead of `compute`. errors: folder of
    _errors.jsonl; None: no such file. device: kind of device that computes.
    """

    name: str
    settings: dict[str, Any]
    limits: Limits
    suffix: str
    look_ahead_seconds: float
    errors: Path | None
    device: str

    def select(self, items: Sequence[Item]) -> Sequence[Sequence[Item]]:
        """The items to compute, in groups that share no shard. Called while the folder is locked."""
        ...

    def read(self, item: Planned) -> Clip | str:
        """The audio of an item, or the reason why it cannot be used. Called in several threads."""
        ...

    def compute(self, batch: Sequence[Decoded], advance: Advance) -> Iterator[Any]:
        """Results for `ShardWriter.add`, in any order. A Failure is the last outcome of its item."""
        ...

    def writer(self, path: Path, plan: Plan, shard: Shard) -> ShardWriter:
        """The writer of a shard's file."""
        ...

    def collect(self, path: Path, plan: Plan) -> None:
        """Called with each shard that this run has computed, for the task's own counts."""
        ...

    def finish(self, folder: Path, plan: Plan, failures: Sequence[Failure]) -> None:
        """Called when all shards are there, while the folder is locked; perhaps by several workers in turn."""
        ...


def empty_plan(task: Task) -> Plan:
    """The plan of a task, without items."""
    return Plan(task.name, task.settings, task.limits, task.suffix, (), str(Path.cwd()))
