"""The training loop of every recipe.

    batches -> task.accumulate (forward, backward) -> sum over processes -> divide, clip -> AdamW

The gradient of a step is that of the loss summed over all micro-batches of all processes, divided by the total count.
So neither accumulation nor the number of processes changes a result beyond rounding.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zoo.data.loader import Loader, Step
from zoo.errors import TrainingError, TrainingStopped
from zoo.io.locks import lock_folder
from zoo.nn.eval_mode import eval_mode
from zoo.train import malloc, processes, runfolder, state
from zoo.train.log import Log
from zoo.train.optim import Optimizer, Precision, TrainConfig
from zoo.train.signals import Signals
from zoo.train.state import Progress
from zoo.train.tally import Tally, Unread
from zoo.train.task import TrainingTask

BEST, LAST, CHECKPOINTS, SKIPPED = "best", "last", "checkpoints", "skipped.jsonl"


@dataclass(frozen=True)
class Result:
    """A finished run. metrics: of the last validation; best, last: exported models (equal if there is no dev set)."""

    step: int
    metrics: dict[str, float]
    best: Path
    last: Path


def fit(
    task: TrainingTask, train: Loader, dev: Loader | None, config: TrainConfig, folder: str | Path, recipe: Any = None
) -> Result:
    """Train `task` for config.steps optimizer steps, or resume a stopped or killed run in `folder`.

    recipe: the whole configuration, which is recorded, and compared on resuming; by default `config`.

    Raises ConfigError if `folder` has a run with another configuration or other data; TrainingError for a loss or
    gradient that is not finite, before the weights change; TrainingStopped after SIGTERM or SIGINT.
    """
    folder = Path(folder)
    device = processes.start(config.device)
    if device.type == "cpu":
        malloc.set_malloc_options()
    processes.check_shares(config.batches_per_step)
    with lock_folder(folder) if processes.is_main() else nullcontext():
        run = _Run(task.to(device), train, dev, config, folder, device)
        run.resume(config if recipe is None else recipe)
        return run.finish()


class _Run:
    """One run: the loop and its state."""

    def __init__(
        self,
        task: TrainingTask,
        train: Loader,
        dev: Loader | None,
        config: TrainConfig,
        folder: Path,
        device: torch.device,
    ) -> None:
        self.task, self.train, self.dev, self.config = task, train, dev, config
        self.folder, self.device = folder, device
        self.optimizer = Optimizer(task, config, task.groups())
        self.progress = Progress()
        self.unread = Unread(device)
        bf16 = config.precision == Precision.bf16
        task.autocast = lambda: torch.autocast(device.type, torch.bfloat16, enabled=bf16)

    def finish(self) -> Result:
        """Run the remaining steps, with reports, validation and checkpoints."""
        progress, config = self.progress, self.config
        steps = self.train.steps(progress.cursor, config.batches_per_step, processes.rank(), processes.world())
        self.task.train()
        with Log(self.folder, progress.step, config.steps, self.task.hidden) as log, Signals() as signals:
            self.task.say = log.say
            if 0 < progress.step < config.steps:
                log.say(f"continuing after step {progress.step} of {config.steps}")
            while progress.step < config.steps:
                step = next(steps)
                log.waited += step.waited
                self.advance(step, stop=signals.name is not None)
                last = progress.step == config.steps
                report = last or progress.step % config.log_every == 0
                validate = self.dev is not None and (last or progress.step % config.validate_every == 0)
                save = last or progress.step % config.save_every == 0
                stop = (report or validate or save or self.reads_each_step) and self.read()
                if report:
                    log.train(progress, self.optimizer.rate, skipped=len(self.train.skipped))
                with log.aside():
                    if validate:
                        self.validate(log)
                    if save or stop:
                        self.save()
                if stop:
                    raise self.stopped(signals)
            if signals.name is not None:  # in the last step: also skip what the recipe does after training
                raise self.stopped(signals)
        return self.result()

    def stopped(self, signals: Signals) -> TrainingStopped:
        return TrainingStopped(
            f"stopped by {signals.name or 'a signal to another process'} after step {self.progress.step}, which is "
            f"saved in {self.folder}: run the same command again to continue",
            signals.number,
        )

    @property
    def reads_each_step(self) -> bool:
        """On a CPU, results are read after each step; a GPU would stand still meanwhile."""
        return self.device.type == "cpu"

    def advance(self, step: Step, stop: bool) -> None:
        """One optimizer step. stop: this process received a signal to stop."""
        progress = self.progress
        self.task.step = progress.step
        self.optimizer.set_step(progress.step + 1)
        batches = [batch.to(self.device) for batch in step.batches]
        tally = Tally()
        self.task.accumulate(batches, tally.add)
        tally.set(stop=stop, seconds=sum(int(b.lengths.sum()) for b in step.batches) / self.train.dataset.sample_rate)
        sums = processes.sum_tensor(tally.tensor(self.device))
        processes.sum_gradients(self.optimizer.parameters)
        norm = self.optimizer.divide_gradients(sums[1])
        self.unread.add(tally.split(sums), norm, progress.cursor)
        self.optimizer.step(skip=self.unread.bad)
        self.optimizer.zero_grad()
        progress.step, progress.cursor = progress.step + 1, step.cursor

    def read(self) -> bool:
        """Read the sums of all steps since the last call; returns whether any process received a signal to stop.

        Raises TrainingError, naming items, if the loss or gradient of a step was not finite.
        """
        unread, self.unread = self.unread, Unread(self.device)
        totals, good = unread.read()
        if good < len(unread.starts):
            number = self.progress.step - len(unread.starts) + good + 1
            steps = self.train.steps(
                unread.starts[good], self.config.batches_per_step, processes.rank(), processes.world()
            )
            batches = [batch.to(self.device) for batch in next(steps).batches]
            raise TrainingError(not_finite(self.task, batches, number, self.folder))
        return self.progress.add(totals)

    def validate(self, log: Log) -> None:
        """Compute metrics on the dev set; export the model if it is the best so far."""
        assert self.dev is not None
        progress, monitor = self.progress, self.task.monitor
        self.task.step = progress.step
        with eval_mode(self.task):
            share = self.dev.share(processes.rank(), processes.world())
            progress.metrics = self.task.validate(batch.to(self.device) for batch in share)
        log.report("dev", progress.step, progress.metrics)
        if monitor not in progress.metrics:
            raise TrainingError(
                f"validate returned {sorted(progress.metrics)}, without the monitored metric {monitor!r}"
            )
        value = progress.metrics[monitor]
        sign = -1.0 if self.task.maximize else 1.0
        best = math.nan if progress.best is None else progress.best["value"]
        if sign * value < sign * best or math.isnan(best):  # any value is better than NaN
            progress.best = {"step": progress.step, "value": value}
            self.export(BEST)

    def save(self) -> None:
        """Write a checkpoint; after the last step also export the model."""
        if self.progress.step == self.config.steps:
            self.export(LAST)
        if processes.is_main():
            state.save(self.folder / CHECKPOINTS, self.task, self.optimizer, self.progress, self.config.keep)
        processes.barrier()

    def export(self, name: str) -> None:
        if processes.is_main():
            with eval_mode(self.task):
                self.task.export(self.folder / name)

    def result(self) -> Result:
        progress = self.progress
        best = BEST if progress.best else LAST
        return Result(progress.step, progress.metrics, self.folder / best, self.folder / LAST)

    def resume(self, recipe: Any) -> None:
        """Load the newest checkpoint, if there is one."""
        checkpoints = state.list_checkpoints(self.folder / CHECKPOINTS)
        if processes.is_main():
            loaders = {"data": self.train, "dev": self.dev}
            data = {name: loader.dataset.fingerprint() for name, loader in loaders.items() if loader is not None}
            runfolder.prepare(self.folder, recipe, data, resuming=bool(checkpoints))
            state.remove_partial_files(self.folder)
        for loader in (self.train, self.dev):
            if loader is not None:
                loader.skipped.attach(self.folder / SKIPPED)
        if checkpoints:
            self.progress = state.load(checkpoints[-1], self.task, self.optimizer)
            self.task.step = self.progress.step
        processes.share_weights(self.task)


def not_finite(task: TrainingTask, batches: list[Any], step: int, folder: Path) -> str:
    """The error message for a loss or gradient that is not finite. It names the items with such a loss, or else all."""
    with torch.no_grad():
        items = [(batch, index) for batch in batches for index in range(len(batch.entries))]
        bad_items = [b.entries[i] for b, i in items if not torch.isfinite(task.run(b.only(i)).loss)]
    named = bad_items or [batch.entries[index] for batch, index in items]
    names = [str(entry.audio) for entry in named]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    label = "Items" if bad_items else "No single item has such a loss; all items of the step"
    return (
        f"step {step}: the {'loss' if bad_items else 'gradient'} is not finite; the weights are unchanged. "
        f"{label}: {', '.join(names[:8])}{more}. "
        f"Check these recordings and labels, lower learning_rate or clip_norm, or use precision=fp32; checkpoints "
        f"are in {folder}"
    )
