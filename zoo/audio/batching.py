"""Batches of clips of similar length; long clips are cut into overlapping windows.

    clip     |----------------------------------------------|
    window 0 |kkkkkkkkkkkk...|                                  k: kept frames
    window 1            |...kkkkkkkkkk...|                      .: context, encoded and discarded
    window 2                       |......kkkkkkkkkkkkkkkkkk|   (the last window starts earlier, to have full length)

Legend: T frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zoo.defaults import BATCH_SECONDS

BATCH_CHUNKS = 64


@dataclass(frozen=True)
class Chunk:
    """Frames start ... stop of a clip. The frames in `keep` are kept, the others are context.

    clip: index of the clip; keep: slice of the clip's frames; whole: the chunk is the whole clip.
    """

    clip: int
    start: int
    stop: int
    keep: slice
    whole: bool

    @property
    def frames(self) -> int:
        return self.stop - self.start

    @property
    def real(self) -> slice:
        """The kept frames as a slice of the chunk."""
        return slice(self.keep.start - self.start, self.keep.stop - self.start)


def chunks_of(clip: int, count: int, window: int, context: int) -> Iterator[Chunk]:
    """Cut a clip of `count` frames into windows of at most `window` frames, with `context` frames at each inner edge.

    clip: index of the clip.
    """
    if count <= window:
        yield Chunk(clip, 0, count, slice(0, count), whole=True)
        return
    step = window - 2 * context
    for start in range(0, count, step):
        stop = min(start + step, count)
        last = min(stop + context, count)
        first = max(0, min(start - context, last - window))
        yield Chunk(clip, first, last, slice(start, stop), whole=False)


def batches(chunks: list[Chunk], frame_rate: float) -> Iterator[list[Chunk]]:
    """Group chunks of similar length, longest first, so that each padded batch stays under BATCH_SECONDS.

    Whole clips and windows are never in the same batch: windows need the norm_stats of their clip.
    """
    batch: list[Chunk] = []
    for chunk in sorted(chunks, key=lambda c: (c.whole, -c.frames, c.clip, c.start)):
        longest = batch[0].frames if batch else 0
        full = (len(batch) + 1) * longest > BATCH_SECONDS * frame_rate or len(batch) == BATCH_CHUNKS
        if batch and (full or chunk.whole != batch[0].whole):
            yield batch
            batch = []
        batch.append(chunk)
    if batch:
        yield batch
