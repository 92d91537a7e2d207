"""A step of `zoo.train.fit` on the stand-in for a GPU."""

from __future__ import annotations

from unittest import mock

from syncs import META, NoSync

from zoo.data.dataset import Batch
from zoo.data.sampler import Cursor
from zoo.train import TrainConfig, TrainingTask
from zoo.train.optim import Optimizer
from zoo.train.tally import Tally, Unread


def step_without_waiting(task: TrainingTask, batch: Batch) -> None:
    """Two optimizer steps, up to the update of the weights. Fails where a GPU would be waited for."""
    task.train().to(META)
    with mock.patch("torch.optim.AdamW"):  # its fused kernel does not exist on "meta"
        optimizer = Optimizer(task, TrainConfig())
    unread = Unread(META)
    with NoSync():
        for _ in range(2):
            tally = Tally()
            task.accumulate([batch.to(META), batch.to(META)], tally.add)
            tally.set(stop=False, seconds=1.0)
            sums = tally.tensor(META)
            norm = optimizer.divide_gradients(sums[1])
            unread.add(tally.split(sums), norm, Cursor())
            task.step += 1
    assert all(p.grad is not None and p.grad.device == META for p in optimizer.parameters if p.grad is not None)
