"""Sums of one optimizer step, over micro-batches and then over processes."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.train.task import Output

LOSS = "loss"


class Tally:
    """name -> (sum, count), kept on the device until `read`."""

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

    def read(self, numbers: Tensor) -> dict[str, list[float]]:
        """The result of `tensor`, summed over processes, as name -> [sum, count]."""
        flat = numbers.tolist()
        return {name: flat[2 * i : 2 * i + 2] for i, (name, _) in enumerate(self._ordered())}

    def _ordered(self) -> list[tuple[str, tuple[Tensor | float, Tensor | float]]]:
        """The sums in the same order in all processes."""
        return sorted(self.sums.items(), key=lambda item: (item[0] != LOSS, item[0]))
