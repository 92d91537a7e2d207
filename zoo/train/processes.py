"""Distributed training: the same script runs with `python`, `torchrun` or, on GPUs, `accelerate launch`.

    torchrun --standalone --nproc-per-node 8 -m zoo.recipes.hubert.train train.batches_per_step=8

Each optimizer step has one exchange: gradients are summed after all micro-batches, in a few large chunks. So a forward
pass can drop layers or run twice, which wrappers such as DistributedDataParallel do not allow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.io import messages
from zoo.io.text import visible
from zoo.nn.precision import resolve_device

# The other processes wait while the first one clusters or transcribes a corpus. The default timeout of torch, 10 or 30
# minutes, would end the run. The launcher, not this timeout, detects a process that dies.
TIMEOUT = timedelta(days=7)
CHUNK = 32 << 20  # elements in one exchange: 128 MB of float32


def start(device: str = "auto") -> torch.device:
    """Join the other processes, if a launcher started any; returns the device of this one."""
    chosen = resolve_device(device)
    state = PartialState(cpu=chosen.type == "cpu", timeout=TIMEOUT)
    return state.device if state.num_processes > 1 else chosen


def check_shares(batches_per_step: int) -> None:
    """Check before hours of data preparation. Raises ConfigError if processes cannot share the batches evenly."""
    if batches_per_step % world():
        raise ConfigError(
            f"train.batches_per_step {batches_per_step} cannot be shared evenly by {world()} processes: make it a "
            "multiple of their number"
        )


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    return rank() == 0


def say(line: str) -> None:
    """Print a line to stderr, from the first process only."""
    if is_main():
        print(visible(line), file=messages.stream(), flush=True)


def barrier() -> None:
    """Wait for all processes."""
    if world() > 1:
        dist.barrier()


@contextmanager
def main_first() -> Iterator[None]:
    """Run the body in the first process, then in the others, which can read the files that the first one wrote."""
    if not is_main():
        barrier()
    yield
    if is_main():
        barrier()


def sum_tensor(values: Tensor) -> Tensor:
    """Sum over all processes, in place."""
    if world() > 1:
        dist.all_reduce(values)
    return values


def sum_all(sums: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """name -> numbers, summed over all processes. A name may be missing in some processes."""
    total: dict[str, list[float]] = {}
    for part in gather(dict(sums)):
        for name, values in part.items():
            total[name] = [a + b for a, b in zip(total.get(name, [0.0] * len(values)), values, strict=True)]
    return total


def gather(value: Any) -> list[Any]:
    """The values of all processes, in the order of ranks. Values are plain Python objects."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def share_weights(model: nn.Module) -> None:
    """Give every process the weights of the first."""
    if world() > 1:
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, 0)


def sum_gradients(parameters: Sequence[Tensor]) -> None:
    """Sum the gradients of all processes. A parameter without a gradient in every process keeps none."""
    if world() == 1:
        return
    used = sum_tensor(torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device))
    present = [p for p, count in zip(parameters, used.tolist(), strict=True) if count]
    while present:
        chunk, size = [present.pop(0)], 0
        while present and size + present[0].numel() <= CHUNK:
            size += present[0].numel()
            chunk.append(present.pop(0))
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in chunk]
        flat = sum_tensor(torch.cat([grad.reshape(-1) for grad in grads]))
        for p, grad in zip(chunk, flat.split([p.numel() for p in chunk]), strict=True):
            p.grad = grad.view_as(p)
