"""Resampling, whole or block by block with the same result.

The filter is that of `torchaudio.functional.resample` with its defaults: a Hann-windowed sinc of 6 zero crossings on
each side, rolloff 0.99. Its kernel is computed in float64, once per pair of rates, and shared by all threads. Results
are those of torchaudio on a float64 waveform; on a float32 one it computes the kernel in float32 at every call, which
moves samples by 1e-5 at 44.1 kHz.

With source : target = o : n in lowest terms, output j * n + i depends on the input only through its distance from
j * o: everything repeats after one period of o inputs and n outputs. A block that starts on a period and sees enough
neighbors therefore gives the very samples of the whole.

Legend: S samples at the source rate, R samples at the target rate, P taps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import AudioError

ZERO_CROSSINGS, ROLLOFF = 6, 0.99  # torchaudio's defaults, needed here for the reach of the filter
LOWEST, HIGHEST = 1000, 1_000_000  # Hz; beyond, the file is damaged or kHz were meant
BLOCK = 2**19  # samples at a time: 12 s of 44.1 kHz, so that most files are one block; 2 MiB
STEP = 2**12  # lengths that the filter is run on are multiples of this
DENSE_KERNEL = 2**20  # torchaudio's kernel has o * n entries; beyond this many (22.254 -> 16 kHz has 89 million) it is
# too slow to build, and the same filter is evaluated without its zeros


class SparseResample:
    """torchaudio's filter for rates of small common measure: n rows of P taps, not of o + P that are mostly zeros."""

    def __init__(self, o: int, n: int) -> None:
        self.o, self.n = o, n
        self.width = _reach(o, n)
        self.taps = 2 * self.width + 2
        phase = torch.arange(n, dtype=torch.float64)[:, None]  # (n, 1)
        first = torch.div(phase * o, n, rounding_mode="floor") - self.width  # (n, 1) leftmost input of each output
        places = first + torch.arange(self.taps, dtype=torch.float64)  # (n, P)
        cutoff = min(o, n) * ROLLOFF
        t = ((places / o - phase / n) * cutoff).clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS)  # (n, P) in zero crossings
        window = torch.cos(t * math.pi / ZERO_CROSSINGS / 2) ** 2
        self.table = (torch.sinc(t) * window * (cutoff / o)).float()  # (n, P)

    def __call__(self, wave: Tensor) -> Tensor:
        """wave (S,) -> (R,), R = ceil(S * n / o)."""
        outputs = torch.arange(-(-len(wave) * self.n // self.o))  # (R,)
        padded = F.pad(wave, (self.width, self.taps))
        seen = padded.unfold(0, self.taps, 1)[outputs * self.o // self.n]  # (R, P)
        return (seen * self.table[outputs % self.n]).sum(1)  # (R,)


def resample(wave: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """One waveform at another rate.

    wave: (S,) float32 on the CPU.
    Returns (R,), R = ceil(S * target_rate / source_rate) exactly (torchaudio, which computes R in float32, may return
    one sample fewer); the wave itself where the rates are equal.
    Raises AudioError for rates that are no whole numbers of Hz within [LOWEST, HIGHEST].
    """
    source_rate, target_rate = whole_rate(source_rate), whole_rate(target_rate)
    if source_rate == target_rate:
        return wave
    if len(wave) > BLOCK:
        return torch.cat(list(resample_blocks(wave.split(BLOCK), source_rate, target_rate)))
    o, n = _ratio(source_rate, target_rate)
    return _filtered(o, n, wave)[: -(-len(wave) * n // o)]  # (R,)


def resample_blocks(blocks: Iterable[Tensor], source_rate: int, target_rate: int) -> Iterator[Tensor]:
    """Consecutive blocks of one waveform at another rate; concatenated, they equal the whole resampled at once.

    blocks: (S_k,) float32 each, of any lengths.
    Yields (R_k,), as soon as the samples to the right that the filter reaches have arrived.
    """
    source_rate, target_rate = whole_rate(source_rate), whole_rate(target_rate)
    if source_rate == target_rate:
        yield from blocks
        return
    o, n = _ratio(source_rate, target_rate)
    context = -(-_reach(o, n) // o) * o  # samples needed on each side, in whole periods
    # held = [left context | samples still owed | right context, once it is here]; it always starts on a period
    held, done = torch.empty(0), 0
    for block in blocks:
        held = torch.cat([held, block]) if len(held) else block
        owed = (len(held) - done - context) // o * o
        if owed <= 0:
            continue
        yield _filtered(o, n, held)[done // o * n : (done + owed) // o * n]
        drop = max(0, done + owed - context)
        held, done = held[drop:], done + owed - drop
    yield _filtered(o, n, held)[done // o * n : -(-len(held) * n // o)]


def whole_rate(rate: float, item: str = "sample rate") -> int:
    """The sample rate as an int; AudioError unless it is a whole number of Hz that audio may have."""
    if isinstance(rate, bool) or not isinstance(rate, Real) or not LOWEST <= rate <= HIGHEST or rate != int(rate):
        raise AudioError(item, f"{rate!r} is no sample rate; a whole number of Hz from {LOWEST} to {HIGHEST} is needed")
    return int(rate)


def _filtered(o: int, n: int, held: Tensor) -> Tensor:
    """All outputs of `held` (S,), as zeros follow it, and some of those zeros' own.

    At least one period of zeros is added, lest torchaudio's float32 length fall short by a sample, and then up to a
    multiple of STEP: convolution builds and keeps code for every length that it meets, and for recordings that all
    differ in length this costs five times the convolution, and 100 MiB.
    """
    size = -(-(len(held) + o) // STEP) * STEP
    return _resampler(o, n)(F.pad(held, (0, size - len(held))))


def _ratio(source_rate: int, target_rate: int) -> tuple[int, int]:
    """The rates in lowest terms (o, n)."""
    common = math.gcd(source_rate, target_rate)
    return source_rate // common, target_rate // common


def _reach(o: int, n: int) -> int:
    """Input samples that the filter sees on each side."""
    return math.ceil(ZERO_CROSSINGS * o / (min(o, n) * ROLLOFF))


@lru_cache(maxsize=32)
def _resampler(o: int, n: int) -> Callable[[Tensor], Tensor]:
    if n * (o + 2 * _reach(o, n)) > DENSE_KERNEL:
        return SparseResample(o, n)
    from torchaudio.transforms import Resample  # half a second to import, and 16 kHz corpora never need it

    return Resample(o, n, dtype=torch.float64).float()
