"""The interface of a recipe: a model with its loss.

class Speech(TrainingTask):
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
    """The result of a forward pass.

    loss: summed over all elements that count; count: the number of these elements (frames, tokens, items).
    logs: name -> (sum, count), detached; the same names in every batch.
    """

    loss: Tensor
    count: Tensor | float
    logs: Sums = field(default_factory=dict)

    def sums(self) -> dict[str, tuple[Tensor | float, Tensor | float]]:
        return {"loss": (self.loss.detach(), self.count), **self.logs}


class TrainingTask(nn.Module):
    """A model and its loss. Subclasses define `forward` and `export`, and override other methods if needed.

    monitor: the metric of `validate` that chooses the best checkpoint; maximize: whether higher is better.
    step: finished optimizer steps, set by `fit`.
    """

    step: int = 0

    monitor: ClassVar[str] = "loss"
    maximize: ClassVar[bool] = False
    hidden: ClassVar[frozenset[str]] = frozenset()
    """Metrics for metrics.jsonl and TensorBoard only: the line for people leaves them out."""
    autocast: Callable[[], AbstractContextManager[Any]] = staticmethod(nullcontext)
    """Context of `forward` in `run`: the number format, set by `fit`."""
    say: Callable[[str], None] = staticmethod(print)
    """Prints a line, such as a sample; `fit` directs it to the console and log.txt."""

    def forward(self, batch: Any) -> Output:
        """The loss of one micro-batch, differentiable. Random numbers come from batch.seeds or torch's generator."""
        raise NotImplementedError

    def export(self, directory: Path) -> None:
        """Write the model that users load later, usually model.save(directory)."""
        raise NotImplementedError

    def groups(self) -> Sequence[Group]:
        """Groups of parameters with their own learning rate. The first group with a matching prefix is used."""
        return ()

    def accumulate(self, batches: Sequence[Any], backward: Callable[[Output], None]) -> None:
        """Compute the gradients of one optimizer step. `backward` adds the gradients and the count of an Output.

        Afterwards the gradients, summed over micro-batches and processes, are divided by the sum of all counts.
        """
        for batch in batches:
            backward(self.run(batch))

    def run(self, batch: Any) -> Output:
        """`forward` with the generator (dropout, layerdrop) seeded by the batch: equal batches give equal results."""
        torch.manual_seed(batch.seed)
        with self.autocast():
            return self(batch)

    def validate(self, batches: Iterable[Any]) -> dict[str, float]:
        """Metrics on the dev set, in evaluation mode without gradients. By default the means of loss and logs.

        batches: those of this process; zoo.train.processes combines sums and lists of all processes.
        """
        total: dict[str, list[float]] = {}
        for batch in batches:
            for name, (value, count) in self.run(batch).sums().items():
                sums = total.setdefault(name, [0.0, 0.0])
                sums[0] += float(value)
                sums[1] += float(count)
        return {name: value / max(count, 1e-9) for name, (value, count) in processes.sum_all(total).items()}
