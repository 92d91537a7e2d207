"""What a recipe writes: a model with its loss.

class Speech(Task):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch):
        frames = self.model(batch.waves, batch.lengths)
        loss = ...                                        # the SUM over all real frames
        return Output(loss, frames.lengths.sum(), {"accuracy": (correct, frames.lengths.sum())})

    def export(self, directory):
        self.model.save(directory)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from zoo.train import processes
from zoo.train.optim import Group

Sums = Mapping[str, tuple[Tensor | float, Tensor | float]]


@dataclass
class Output:
    """What a forward pass gives.

    loss: the sum over everything that counts; count: how much counted (frames, tokens, items).
    logs: name -> (sum, count), detached; the same names from every batch.
    """

    loss: Tensor
    count: Tensor | float
    logs: Sums = field(default_factory=dict)

    def sums(self) -> dict[str, tuple[Tensor | float, Tensor | float]]:
        return {"loss": (self.loss.detach(), self.count), **self.logs}


class TrainingTask(nn.Module):
    """A model and its loss. Subclasses write `forward` and `export`, and override what does not suit them.

    monitor: the metric of `validate` that decides which checkpoint is the best; maximize: whether more is better.
    """

    monitor: ClassVar[str] = "loss"
    maximize: ClassVar[bool] = False
    autocast: Callable[[], AbstractContextManager[Any]] = staticmethod(nullcontext)
    """What `run` wraps `forward` in: the number format, set by `fit`."""
    say: Callable[[str], None] = staticmethod(print)
    """Tells people something, such as a sample; `fit` sends it to the console and log.txt."""

    def forward(self, batch: Any) -> Output:
        """The differentiable path of one micro-batch. Everything random comes from batch.seeds or torch's generator."""
        raise NotImplementedError

    def export(self, directory: Path) -> None:
        """Write what a user loads afterwards, usually model.save(directory)."""
        raise NotImplementedError

    def groups(self) -> Sequence[Group]:
        """Parameters with a learning rate of their own; the first matching prefix counts."""
        return ()

    def accumulate(self, batches: Sequence[Any], backward: Callable[[Output], None]) -> None:
        """One optimizer step's worth of gradients. `backward` adds those of an Output and counts it.

        The gradients of all sums, over micro-batches and processes, are divided by the sum of all counts afterwards.
        """
        for batch in batches:
            backward(self.run(batch))

    def run(self, batch: Any) -> Output:
        """`forward` with the generator (dropout, layerdrop) seeded by the batch: the same batch, the same result."""
        torch.manual_seed(batch.seed)
        with self.autocast():
            return self(batch)

    def validate(self, batches: Iterable[Any]) -> dict[str, float]:
        """Metrics on the dev set, in evaluation mode without gradients: means of loss and logs by default.

        batches: this process's share; sums and lists are combined by zoo.train.processes.
        """
        total: dict[str, list[float]] = {}
        for batch in batches:
            for name, (value, count) in self.run(batch).sums().items():
                sums = total.setdefault(name, [0.0, 0.0])
                sums[0] += float(value)
                sums[1] += float(count)
        return {name: value / max(count, 1e-9) for name, (value, count) in processes.sum_all(total).items()}
