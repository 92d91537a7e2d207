"""Decoding ahead of the encoder, in threads, with a bound on the audio that waits."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future

from zoo import audio
from zoo.audio import Clip
from zoo.errors import AudioError, MissingDependencyError
from zoo.io.threads import core_pool
from zoo.jobs.survey import Planned

# Recordings longer than this wait on disk (`audio.SpooledWave`) and not in memory.
SPOOL_SECONDS = 600.0
# At most so many clips wait, however short they are.
LOOK_AHEAD_CLIPS = 1024

Read = Callable[[Planned], Clip | str]
Outcome = tuple[Planned, Clip | str]


def read(item: Planned, *, sample_rate: int, min_samples: int) -> Clip | str:
    """The item as the encoder wants it, or the reason why there is none."""
    try:
        clip = audio.load(item.path, sample_rate, start=item.start, end=item.end, spool_seconds=SPOOL_SECONDS)
    except AudioError as error:
        if error.item == tempfile.gettempdir():
            raise  # the disk is full: every long recording would be counted as unreadable
        return error.reason
    except MissingDependencyError as error:
        return str(error)
    if len(clip) < min_samples:
        return f"too short: {len(clip)} samples at {sample_rate} Hz, this encoder needs {min_samples}"
    return clip


def ahead(
    items: Iterable[Planned], read: Read, *, workers: int, look_ahead_seconds: float
) -> Generator[Outcome, None, None]:
    """Yield every item with what `read` made of it, in order, while up to `workers` threads read those to come.

    Reading is begun for the next item as long as less than `look_ahead_seconds` of audio is read or being read and has
    not been yielded; so the audio held here never exceeds that by more than one item.
    """
    waiting: deque[tuple[Planned, Future[Clip | str]]] = deque()
    held = 0.0
    coming = iter(items)
    pool = core_pool(workers, "zoo-decode")
    try:
        while True:
            while held < look_ahead_seconds and len(waiting) < LOOK_AHEAD_CLIPS:
                item = next(coming, None)
                if item is None:
                    break
                waiting.append((item, pool.submit(read, item)))
                held += item.seconds
            if not waiting:
                return
            item, future = waiting.popleft()
            result = future.result()
            held -= item.seconds
            yield item, result
            del future, result  # the consumer's is the only reference while it computes
    finally:
        pool.shutdown(cancel_futures=True)
