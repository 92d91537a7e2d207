"""Sums over micro-batches, processes and optimizer steps."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.data.sampler import Cursor
from zoo.train.task import Output

LOSS = "loss"


class Tally:
    """Sums of one optimizer step: name -> (sum, count), kept on the device."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[Tensor | float, Tensor | float]] = {LOSS: (0.0, 0.0)}

    def add(self, output: Output) -> None:
        """Run the backward pass of one micro-batch and add its loss and logs."""
        output.loss.backward()
        for name, (value, count) in output.sums().items():
            total_value, total_count = self.sums.get(name, (0.0, 0.0))
            self.sums[name] = total_value + value, total_count + count

    def set(self, **values: float) -> None:
        """Add numbers of this process. After summing over processes, their count is the number of processes."""
        self.sums |= {name: (value, 1.0) for name, value in values.items()}

    def tensor(self, device: torch.device) -> Tensor:
        """All sums and counts, (2 x names) float64; the loss and its count come first."""
        flat = [value for _, pair in self._ordered() for value in pair]
        numbers = torch.tensor([0.0 if isinstance(v, Tensor) else v for v in flat], dtype=torch.float64, device=device)
        for index, value in enumerate(flat):
            if isinstance(value, Tensor):
                numbers[index] = value
        return numbers

    def split(self, numbers: Tensor) -> dict[str, Tensor]:
        """The result of `tensor`, summed over processes, as name -> (2,): sum and count."""
        pairs = numbers.unflatten(0, (-1, 2)).unbind()
        return {name: pair for (name, _), pair in zip(self._ordered(), pairs, strict=True)}

    def _ordered(self) -> list[tuple[str, tuple[Tensor | float, Tensor | float]]]:
        """The sums in the same order in all processes."""
        return sorted(self.sums.items(), key=lambda item: (item[0] != LOSS, item[0]))


class Unread:
    """Sums of the steps since the last `read`. They stay on the device, so that no step waits for a GPU.

    bad () bool: whether the loss or the gradient of some step was not finite. `Optimizer.step` has no effect from that
    step on. starts: for each step, where its batches begin.
    """

    def __init__(self, device: torch.device) -> None:
        self.sums: dict[str, Tensor] = {}
        self.starts: list[Cursor] = []
        self.bad = torch.zeros((), dtype=torch.bool, device=device)
        self.good = torch.zeros((), dtype=torch.float64, device=device)  # steps before the first bad one

    def add(self, sums: dict[str, Tensor], norm: Tensor, start: Cursor) -> None:
        """Add the sums of one step, name -> (2,), and the norm () of its gradient."""
        sums = sums | {"gradient_norm": torch.stack([norm, torch.ones_like(norm)])}
        for name, pair in sums.items():
            self.sums[name] = self.sums[name] + pair if name in self.sums else pair
        self.bad = self.bad | ~(sums[LOSS][0].isfinite() & norm.isfinite())
        self.good = self.good + ~self.bad
        self.starts.append(start)

    def read(self) -> tuple[dict[str, list[float]], int]:
        """name -> [sum, count], and the number of good steps before the first bad one."""
        flat = torch.cat([*self.sums.values(), self.good[None]]).tolist()  # the only transfer
        return {name: flat[2 * i : 2 * i + 2] for i, name in enumerate(self.sums)}, int(flat[-1])
