"""Resampling of a whole waveform or block by block, with the same result.

The filter is the one of `torchaudio.functional.resample` with its defaults: a Hann-windowed sinc of 6 zero crossings on
each side, rolloff 0.99. Its kernel is computed in float64, once per pair of rates, and shared by all threads. Results
are the same as those of torchaudio on a float64 waveform. On a float32 waveform torchaudio computes the kernel in
float32 at every call, which changes samples by 1e-5 at 44.1 kHz.

With source : target = o : n in lowest terms, the computation repeats after one period of o inputs and n outputs. So a
block that starts at a period and has enough context on both sides gives exactly the samples of the whole waveform.

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

from zoo.ambient import ordinary_tensors
from zoo.errors import AudioError

ZERO_CROSSINGS, ROLLOFF = 6, 0.99  # torchaudio's defaults, needed here for the half width of the filter
LOWEST, HIGHEST = 1000, 1_000_000  # Hz; outside, the file is damaged or the rate is in kHz
BLOCK = 2**19  # samples at a time: 12 s of 44.1 kHz, so that most files are one block; 2 MiB
AT_ONCE = 2**20  # products at a time in SparseResample: 4 MiB
STEP = 2**12  # inputs of the filter are padded to a multiple of this
DENSE_KERNEL = 2**20  # largest torchaudio kernel, o * n entries. 22.254 -> 16 kHz would have 89 million, too slow to
# build: SparseResample computes the same filter without its zeros


class SparseResample:
    """torchaudio's filter for rates with a small common divisor: n rows of P taps, without the zeros that make
    torchaudio's rows o + P long.

    Memory: the table of n * P weights, the result, and some blocks of AT_ONCE products.
    """

    def __init__(self, o: int, n: int) -> None:
        self.o, self.n = o, n
        self.width = _half_width(o, n)
        self.taps = 2 * self.width + 2
        self._rows = max(1, AT_ONCE // self.taps)  # as many as keep the memory small
        self.table = torch.cat([self._filters(phases) for phases in torch.arange(n).split(self._rows)])  # (n, P)

    def _filters(self, phases: Tensor) -> Tensor:
        """phases (N,) of the period -> (N, P) weights."""
        phase = phases.double()[:, None]  # (N, 1)
        first = torch.div(phase * self.o, self.n, rounding_mode="floor") - self.width  # (N, 1) leftmost input
        positions = first + torch.arange(self.taps, dtype=torch.float64)  # (N, P)
        cutoff = min(self.o, self.n) * ROLLOFF
        t = (positions / self.o - phase / self.n) * cutoff  # (N, P) in zero crossings
        t = t.clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS)
        window = torch.cos(t * math.pi / ZERO_CROSSINGS / 2) ** 2
        return (torch.sinc(t) * window * (cutoff / self.o)).float()

    def __call__(self, wave: Tensor) -> Tensor:
        """wave (S,) -> (R,), R = ceil(S * n / o)."""
        padded = F.pad(wave, (self.width, self.taps))
        inputs = padded.unfold(0, self.taps, 1)  # (S + 1, P) without a copy
        result = torch.empty(-(-len(wave) * self.n // self.o), dtype=torch.float32)  # (R,)
        for begin in range(0, len(result), self._rows):
            outputs = torch.arange(begin, min(begin + self._rows, len(result)))
            weighted = inputs[outputs * self.o // self.n] * self.table[outputs % self.n]  # (N, P)
            result[begin : begin + self._rows] = weighted.sum(1)
        return result


def resample(wave: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """One waveform at another rate.

    wave: (S,) float32 on the CPU.
    Returns (R,), R = ceil(S * target_rate / source_rate) exactly (torchaudio computes R in float32, so it may return
    one sample fewer); the wave itself if the rates are equal.
    Raises AudioError for rates that are not whole numbers of Hz in [LOWEST, HIGHEST].
    """
    source_rate, target_rate = whole_rate(source_rate), whole_rate(target_rate)
    if source_rate == target_rate:
        return wave
    if len(wave) > BLOCK:
        return torch.cat(list(resample_blocks(wave.split(BLOCK), source_rate, target_rate)))
    o, n = _ratio(source_rate, target_rate)
    return _filtered(o, n, wave)[: -(-len(wave) * n // o)]  # (R,)


def resample_blocks(blocks: Iterable[Tensor], source_rate: int, target_rate: int) -> Iterator[Tensor]:
    """Resample consecutive blocks of one waveform; joined, the results equal the resampled whole waveform.

    blocks: (S_k,) float32 each, of any lengths.
    Yields (R_k,), as soon as the following samples that the filter needs are available.
    """
    source_rate, target_rate = whole_rate(source_rate), whole_rate(target_rate)
    if source_rate == target_rate:
        yield from blocks
        return
    o, n = _ratio(source_rate, target_rate)
    context = -(-_half_width(o, n) // o) * o  # samples needed on each side, in whole periods
    # buffer = [left context: `done` samples | samples to resample | right context]; it always starts at a period
    buffer, done = torch.empty(0, dtype=torch.float32), 0
    for block in blocks:
        buffer = torch.cat([buffer, block]) if len(buffer) else block
        ready = (len(buffer) - done - context) // o * o
        if ready <= 0:
            continue
        yield _filtered(o, n, buffer)[done // o * n : (done + ready) // o * n]
        drop = max(0, done + ready - context)
        buffer, done = buffer[drop:], done + ready - drop
    yield _filtered(o, n, buffer)[done // o * n : -(-len(buffer) * n // o)]


def whole_rate(rate: float, item: str = "sample rate") -> int:
    """The sample rate as an int. Raises AudioError unless it is a whole number of Hz in [LOWEST, HIGHEST]."""
    if isinstance(rate, bool) or not isinstance(rate, Real) or not LOWEST <= rate <= HIGHEST or rate != int(rate):
        raise AudioError(item, f"{rate!r} is not a sample rate; use a whole number of Hz from {LOWEST} to {HIGHEST}")
    return int(rate)


def _filtered(o: int, n: int, wave: Tensor) -> Tensor:
    """All outputs for `wave` (S,) followed by zeros, and some outputs for the zeros.

    At least one period of zeros is added, because torchaudio computes the length in float32 and may be a sample short.
    Then zeros are added up to a multiple of STEP: oneDNN compiles and caches code for every new length. For recordings
    of many different lengths that would take five times as long as the convolution, and 100 MiB.
    """
    size = -(-(len(wave) + o) // STEP) * STEP
    return _resampler(o, n)(F.pad(wave, (0, size - len(wave))))


def _ratio(source_rate: int, target_rate: int) -> tuple[int, int]:
    """The rates in lowest terms (o, n)."""
    common = math.gcd(source_rate, target_rate)
    return source_rate // common, target_rate // common


def _half_width(o: int, n: int) -> int:
    """Input samples that the filter uses on each side."""
    return math.ceil(ZERO_CROSSINGS * o / (min(o, n) * ROLLOFF))


@lru_cache(maxsize=32)
def _resampler(o: int, n: int) -> Callable[[Tensor], Tensor]:
    with ordinary_tensors():  # the filter serves all later calls
        if n * (o + 2 * _half_width(o, n)) > DENSE_KERNEL:
            return SparseResample(o, n)
        from torchaudio.transforms import Resample  # takes half a second to import, and 16 kHz corpora do not need it

        return Resample(o, n, dtype=torch.float64).float()
