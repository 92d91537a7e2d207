"""Decode audio in threads ahead of the encoder. The amount of decoded audio in memory is bounded."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future

from zoo import audio
from zoo.audio import Clip
from zoo.errors import ConfigError
from zoo.io.threads import core_pool
from zoo.jobs.failures import READ_ERRORS, NoRoom, describe_failure
from zoo.jobs.survey import Planned

# Recordings longer than this are decoded to disk (`audio.SpooledWave`), not to memory.
SPOOL_SECONDS = 600.0
# Maximum number of clips that are decoded ahead.
LOOK_AHEAD_CLIPS = 1024

Read = Callable[[Planned], Clip | str]
Outcome = tuple[Planned, Clip | str]


def count_threads(workers: int | None) -> int:
    """The number of decoding threads: by default one for each core, at most eight.

    Raises ConfigError for a number below 1.
    """
    if workers is None:
        return min(8, os.cpu_count() or 1)
    if workers < 1:
        raise ConfigError(f"workers {workers}: must be at least 1")
    return workers


def read(item: Planned, *, sample_rate: int, min_samples: int) -> Clip | str:
    """The item's audio at the encoder's sample rate, or the reason why it cannot be used.

    A failure of the system, such as a full temporary folder, is also a reason: the next run tries the item again.
    """
    try:
        clip = audio.load(item.path, sample_rate, start=item.start, end=item.end, spool_seconds=SPOOL_SECONDS)
    except READ_ERRORS as error:
        return describe_failure(error)
    if len(clip) < min_samples:
        return f"too short: {len(clip)} samples at {sample_rate} Hz, this encoder needs {min_samples}"
    return clip


def ahead(
    items: Iterable[Planned], read: Read, *, workers: int, look_ahead_seconds: float
) -> Generator[Outcome, None, None]:
    """Yield each item with the result of `read`, in order. Up to `workers` threads read the next items meanwhile.

    The next item is submitted while the items that were submitted but not yet yielded have less than
    `look_ahead_seconds` of audio together. So the audio in memory exceeds this limit by one item at most.
    """
    waiting: deque[tuple[Planned, Future[Clip | str]]] = deque()
    waiting_seconds = 0.0
    remaining = iter(items)
    pool = core_pool(workers, "zoo-decode")
    try:
        while True:
            while waiting_seconds < look_ahead_seconds and len(waiting) < LOOK_AHEAD_CLIPS:
                item = next(remaining, None)
                if item is None:
                    break
                waiting.append((item, pool.submit(read, item)))
                waiting_seconds += item.seconds
            if not waiting:
                return
            item, future = waiting.popleft()
            result = future.result()
            if isinstance(result, NoRoom):
                result = read(item)  # again, because the recordings before this one are not needed any more
            waiting_seconds -= item.seconds
            yield item, result
            del future, result  # so that the consumer can free the clip
    finally:
        pool.shutdown(cancel_futures=True)
