"""How many frames a foreign model gives for a clip, found by running it on noise.

frames = (samples + offset) // hop        for clips of min_samples and more
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zoo.errors import ConfigError

BASE_SECONDS = 1.0  # length of the clips that are measured, and twice as much


@dataclass(frozen=True)
class Timing:
    """hop, offset, min_samples: in samples, see above."""

    hop: int
    offset: int
    min_samples: int

    def count(self, samples: int) -> int:
        """The number of frames of a clip; 0 if it is too short."""
        return max(0, (samples + self.offset) // self.hop) if samples >= self.min_samples else 0


def measure(frames_of: Callable[[int], int], sample_rate: int) -> Timing:
    """The timing of a model. frames_of: the number of frames of a clip of that many samples; 0 if it is too short.

    Raises ConfigError if all clips have as many frames, or their number does not grow evenly.
    """
    base = round(BASE_SECONDS * sample_rate)
    count, count_of_double = frames_of(base), frames_of(2 * base)
    if count >= count_of_double:
        raise ConfigError(
            f"it gives {count} frames for {BASE_SECONDS:g} s and for {2 * BASE_SECONDS:g} s: it pads every clip to one "
            "length, so real frames cannot be told from padding"
        )
    about = 2 * base // (count_of_double - count)  # samples from one more frame to the next, and then some
    edge = _first(lambda samples: frames_of(samples) > count, base, base + about)
    hop = _first(lambda samples: frames_of(samples) > count + 1, edge, edge + about) - edge
    offset = (count + 1) * hop - edge
    shortest = _first(lambda samples: frames_of(samples) > 0, max(1, hop - offset), base)
    timing = Timing(hop, offset, shortest)
    for samples in (shortest, edge - 1, edge, edge + hop - 1, edge + hop, base + base // 3, 2 * base + 7 * hop // 3):
        if frames_of(samples) != timing.count(samples):
            raise ConfigError(
                f"it gives {frames_of(samples)} frames for {samples} samples, where one frame every {hop} samples "
                f"would be {timing.count(samples)}: their number does not grow evenly"
            )
    return timing


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The smallest number in low ... high for which it holds, if it holds for `high` and for all between."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return high
