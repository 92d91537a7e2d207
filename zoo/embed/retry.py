"""Items that failed in an earlier run are tried again: the cause may have been a folder that was not mounted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial

from zoo.embed.compute import DecodedClip, Embedder
from zoo.embed.plan import Plan, Shard
from zoo.embed.writer import Failure
from zoo.encoder import Encoder
from zoo.jobs import decode
from zoo.jobs.survey import Planned


def improvable_shards(
    plan: Plan, stored: Mapping[Shard, Sequence[Failure]], encoder: Encoder, workers: int
) -> set[Shard]:
    """The stored shards with a failed item that works now. Each failed item is decoded and embedded alone.

    Items that the survey of this run could not open are not tried: their failure is up to date.
    """
    shard_of: dict[Planned, Shard] = {}
    for shard, failures in stored.items():
        items = [plan.items[failure.item_index] for failure in failures]
        shard_of |= {item: shard for item in items if item.reason is None}
    improvable: set[Shard] = set()
    if not shard_of:
        return improvable

    def undecided() -> Iterator[Planned]:
        return (item for item, shard in shard_of.items() if shard not in improvable)

    embedder = Embedder(encoder, plan.settings)
    read = partial(decode.read, sample_rate=encoder.sample_rate, min_samples=encoder.min_samples)
    seconds = plan.settings.batch_seconds
    with closing(decode.ahead(undecided(), read, workers=workers, look_ahead_seconds=seconds)) as clips:
        for item, clip in clips:
            shard = shard_of[item]
            if shard in improvable or isinstance(clip, str):
                continue
            outcomes = embedder([DecodedClip(0, item.start or 0.0, clip)])
            if not any(isinstance(outcome, Failure) for outcome in outcomes):
                improvable.add(shard)
    return improvable


def loses_items(before: Sequence[Failure] | None, after: Sequence[Failure]) -> bool:
    """Whether an item that has rows in the stored shard failed this time. The stored shard is then kept."""
    if before is None:
        return False
    failed_before = {failure.item_index for failure in before}
    failed_now = {failure.item_index for failure in after}
    return not failed_now <= failed_before
