"""Items that failed in an earlier run are tried again: the cause may have been a folder that was not mounted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

from zoo.jobs import decode
from zoo.jobs.plan import Plan, Shard
from zoo.jobs.shards import Failure
from zoo.jobs.survey import Planned
from zoo.jobs.task import Decoded, Task

# The reason of an item that kills the process that decodes or computes it. It is tried again when its file changes.
CRASHED = "kills the process that reads it; it is not tried again until the file changes"


def improvable_shards(plan: Plan, stored: Mapping[Shard, Sequence[Failure]], task: Task, threads: int) -> set[Shard]:
    """The stored shards with a failed item that works now. Each failed item is decoded and computed alone.

    Items that the survey of this run could not open are not tried: their failure is up to date.
    """
    tried = [
        (shard, failure.item_index)
        for shard, failures in stored.items()
        for failure in failures
        if plan.items[failure.item_index].reason is None and failure.reason != CRASHED
    ]
    improvable: set[Shard] = set()
    decoding: deque[tuple[Shard, int]] = deque()

    def undecided() -> Iterator[Planned]:
        for shard, index in tried:
            if shard not in improvable:
                decoding.append((shard, index))
                yield plan.items[index]

    ahead = decode.ahead(undecided(), task.read, workers=threads, look_ahead_seconds=task.look_ahead_seconds)
    with closing(ahead) as clips:
        for item, clip in clips:
            shard, index = decoding.popleft()
            if shard in improvable or isinstance(clip, str):
                continue
            outcomes = task.compute([Decoded(index, item, clip, plan.labels_of(index))], lambda seconds: None)
            if not any(isinstance(outcome, Failure) for outcome in outcomes):
                improvable.add(shard)
    return improvable


def loses_items(before: Sequence[Failure] | None, after: Sequence[Failure]) -> bool:
    """Whether an item that has results in the stored shard failed this time. The stored shard is then kept."""
    if before is None:
        return False
    failed_before = {failure.item_index for failure in before}
    failed_now = {failure.item_index for failure in after}
    return not failed_now <= failed_before
