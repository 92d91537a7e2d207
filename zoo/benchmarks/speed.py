"""Speed, size and memory of an encoder. Times are valid only on a machine that does nothing else."""

from __future__ import annotations

import copy
import ctypes
import gc
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from zoo.encoder import Encoder
from zoo.nn.eval_mode import eval_mode

CLIPS, SECONDS, ROUNDS = 8, 10.0, 3


@dataclass(frozen=True)
class Speed:
    """real_time_factor: seconds of audio embedded per second, the median. slowest, fastest: its range.

    parameters: their number. gmacs: 10^9 multiply-accumulates per second of audio, of matrix products and convolutions.
    peak_mib: peak memory of the encoder with its weights: of the process on a CPU (Linux only, else NaN), of tensors on
    a GPU.
    """

    real_time_factor: float
    slowest: float
    fastest: float
    parameters: int
    gmacs: float
    peak_mib: float


def measure(encoder: Encoder, *, clips: int = CLIPS, seconds: float = SECONDS, rounds: int = ROUNDS) -> Speed:
    """Embed `clips` clips of noise, `rounds` times after a warm-up.

    It measures a copy of the encoder, so that buffers from earlier calls count as memory of the copy.
    """
    generator = torch.Generator().manual_seed(0)
    waves = [0.1 * torch.randn(round(seconds * encoder.sample_rate), generator=generator) for _ in range(clips)]
    before = _reset_memory(encoder.device)
    encoder = copy.deepcopy(encoder)
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        encoder.embed(waves, encoder.sample_rate)  # ends on the CPU, so nothing is left running
        times.append(time.perf_counter() - start)
    peak = (_peak(encoder.device) - before) / 2**20
    one = waves[0][: round(encoder.window_seconds * encoder.sample_rate)]  # one window
    factors = [clips * seconds / each for each in times[1:]]
    return Speed(
        statistics.median(factors),
        min(factors),
        max(factors),
        sum(p.numel() for p in encoder.parameters()),
        count_macs(encoder, one) / (len(one) / encoder.sample_rate) / 1e9,
        peak,
    )


def count_macs(encoder: Encoder, wave: Tensor) -> float:
    """Multiply-accumulates of one clip (S,) within a window: half of the floating-point operations that PyTorch counts.

    Gradients are on, because the counter knows only the operators of that path.
    """
    with FlopCounterMode(display=False) as counter, eval_mode(encoder), torch.enable_grad():
        encoder(wave[None].to(encoder.device), torch.tensor([len(wave)], device=encoder.device))
    return counter.get_total_flops() / 2


def _reset_memory(device: torch.device) -> float:
    """Bytes in use now. `_peak` counts from here. NaN if the system does not report them."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return float(torch.cuda.memory_allocated(device))
    if not sys.platform.startswith("linux"):
        return float("nan")
    trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)
    trim(0)  # return freed memory, so that its reuse counts
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # reset the peak: proc(5)
    except OSError:
        return float("nan")
    return _process_bytes("VmRSS")


def _peak(device: torch.device) -> float:
    """Peak bytes in use since `_reset_memory`."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return _process_bytes("VmHWM") if sys.platform.startswith("linux") else float("nan")


def _process_bytes(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024.0 * int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])
