"""Several processes as one: the same script under plain `python`, `torchrun` or, on GPUs, `accelerate launch`.

    torchrun --standalone --nproc-per-node 8 -m zoo.recipes.hubert.train train.batches_per_step=8

Every optimizer step has one exchange: gradients are summed when all micro-batches are done, in a few large pieces.
That leaves the forward pass free (layers may be dropped, caches replayed), which wrappers such as
DistributedDataParallel do not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.nn.precision import resolve_device

# The others wait for as long as the first process clusters or transcribes a corpus alone; torch's own 10 or 30 minutes
# would end the run there. A process that dies is noticed by the launcher, not by this.
PATIENCE = timedelta(days=7)
PIECE = 32 << 20  # elements that are exchanged at once: 128 MB of float32


def start(device: str = "auto") -> torch.device:
    """Join the other processes, if a launcher started any; returns the device of this one."""
    chosen = resolve_device(device)
    state = PartialState(cpu=chosen.type == "cpu", timeout=PATIENCE)
    return state.device if state.num_processes > 1 else chosen


def check_shares(batches_per_step: int) -> None:
    """Recipes ask before they prepare data for hours. Raises ConfigError where steps cannot be shared evenly."""
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
    """A line for people, from the first process alone."""
    if is_main():
        print(line, file=sys.stderr, flush=True)


def barrier() -> None:
    """Wait until every process is here."""
    if world() > 1:
        dist.barrier()


@contextmanager
def main_first() -> Iterator[None]:
    """What stands inside is done by the first process, and then by the others, which find on the disk what it made."""
    if not is_main():
        barrier()
    yield
    if is_main():
        barrier()


def sum_tensor(values: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if world() > 1:
        dist.all_reduce(values)
    return values


def sum_all(sums: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """name -> numbers, added up over all processes; a name may be missing in some."""
    total: dict[str, list[float]] = {}
    for part in gather(dict(sums)):
        for name, values in part.items():
            total[name] = [a + b for a, b in zip(total.get(name, [0.0] * len(values)), values, strict=True)]
    return total


def gather(value: Any) -> list[Any]:
    """The value of every process, in order of rank. Plain Python values between our own processes."""
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
    """Add up the gradients of all processes; a parameter that no process used keeps none."""
    if world() == 1:
        return
    used = sum_tensor(torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device))
    present = [p for p, count in zip(parameters, used.tolist(), strict=True) if count]
    while present:
        piece, size = [present.pop(0)], 0
        while present and size + present[0].numel() <= PIECE:
            size += present[0].numel()
            piece.append(present.pop(0))
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in piece]
        flat = sum_tensor(torch.cat([grad.reshape(-1) for grad in grads]))
        for p, grad in zip(piece, flat.split([p.numel() for p in piece]), strict=True):
            p.grad = grad.view_as(p)
