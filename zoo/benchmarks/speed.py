"""How fast an encoder is, and what it weighs. Timings mean something on a machine that does nothing else."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from zoo.encoder import Encoder, frozen

CLIPS, SECONDS, ROUNDS = 8, 10.0, 3


@dataclass(frozen=True)
class Speed:
    """real_time_factor: seconds of audio embedded per second, the median; slowest, fastest: its range.

    parameters: count. gmacs: 10^9 multiply-accumulates per second of audio, of matrix products and convolutions.
    peak_mib: most memory so far, of the process on a CPU, of tensors on a GPU.
    """

    real_time_factor: float
    slowest: float
    fastest: float
    parameters: int
    gmacs: float
    peak_mib: float


def measure(encoder: Encoder, *, clips: int = CLIPS, seconds: float = SECONDS, rounds: int = ROUNDS) -> Speed:
    """Embed `clips` of noise, `rounds` times after a first that does not count."""
    generator = torch.Generator().manual_seed(0)
    waves = [0.1 * torch.randn(round(seconds * encoder.sample_rate), generator=generator) for _ in range(clips)]
    if encoder.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(encoder.device)
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        encoder.embed(waves, encoder.sample_rate)  # ends on the CPU, so nothing is left running
        times.append(time.perf_counter() - start)
    factors = [clips * seconds / each for each in times[1:]]
    return Speed(
        statistics.median(factors),
        min(factors),
        max(factors),
        sum(p.numel() for p in encoder.parameters()),
        count_macs(encoder, waves[0]) / seconds / 1e9,
        _peak(encoder),
    )


def count_macs(encoder: Encoder, wave: Tensor) -> float:
    """Multiply-accumulates of one clip (S,): half of what PyTorch counts as floating-point operations.

    With gradients on, so that the operators are the plain ones that the counter knows.
    """
    with FlopCounterMode(display=False) as counter, frozen(encoder), torch.enable_grad():
        encoder(wave[None].to(encoder.device), torch.tensor([len(wave)], device=encoder.device))
    return counter.get_total_flops() / 2


def _peak(encoder: Encoder) -> float:
    if encoder.device.type == "cuda":
        return torch.cuda.max_memory_allocated(encoder.device) / 2**20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)
