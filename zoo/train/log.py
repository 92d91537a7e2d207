"""Reports of a run: metrics.jsonl and TensorBoard for programs, a progress line for people."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from zoo.io import messages
from zoo.io.atomic import replacing_file
from zoo.io.text import clock
from zoo.train import processes
from zoo.train.state import Progress

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS, TEXT, TENSORBOARD = "metrics.jsonl", "log.txt", "tensorboard"
SKIPPED = "skipped"  # shown where it is not 0
HIDDEN = frozenset({"audio_hours", "data_wait", "seconds"})  # in metrics.jsonl and TensorBoard
LINE_EVERY = 15.0  # s between two progress lines without a terminal


class Log:
    """The reports of one run: `with Log(...) as log`. Only the first process writes.

    step: the step that the run resumes from. Lines of later steps are removed, because those steps are repeated.
    hidden: metrics that lines for people leave out.
    """

    def __init__(self, folder: Path, step: int, total: int, hidden: frozenset[str] = frozenset()) -> None:
        self.folder, self.first, self.total = folder, step, total
        self.hidden = hidden | HIDDEN
        self.waited = 0.0  # s of waiting for data since the last line
        self.began = self._last_line = self._marked = time.monotonic()
        self._marked_step = step
        self._aside = 0.0  # s outside of steps since the last line
        self._board: SummaryWriter | None = None
        self._live = processes.is_main() and messages.stream().isatty()
        if processes.is_main():
            _truncate(folder / METRICS, step)

    def __enter__(self) -> Log:
        if processes.is_main():
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.folder / TENSORBOARD), purge_step=self.first + 1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.close()

    def train(self, progress: Progress, rate: float, skipped: int) -> None:
        """Report means since the last line, and the speed of the run."""
        now, metrics = time.monotonic(), {}
        for name, (value, count) in progress.pending.items():
            metrics[name] = value / count if count else 0.0
        elapsed = max(now - self._marked - self._aside, 1e-9)
        metrics |= {
            "learning_rate": rate,
            "epoch": progress.cursor.epoch,
            "audio_hours": progress.audio_seconds / 3600,
            "skipped": skipped,
            "steps_per_second": (progress.step - self._marked_step) / elapsed,
            "data_wait": self.waited / elapsed,
        }
        self.report("train", progress.step, metrics)
        progress.pending.clear()
        self._marked, self._marked_step, self.waited, self._aside = now, progress.step, 0.0, 0.0

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Exclude the time of this context (validation, checkpoints) from the reported speed of steps."""
        began = time.monotonic()
        yield
        self._aside += time.monotonic() - began

    def report(self, split: str, step: int, metrics: Mapping[str, float]) -> None:
        """Write one line of metrics.jsonl, one TensorBoard point for each metric, and one line for people."""
        if self._board is None:
            return
        record = {"step": step, "split": split} | dict(metrics)
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        for name, value in metrics.items():
            self._board.add_scalar(f"{split}/{name}", value, step)
        shown = [name for name, value in metrics.items() if name not in self.hidden and (name != SKIPPED or value)]
        values = "  ".join(f"{name} {metrics[name]:.4g}" for name in shown)
        line = f"{split:5} step {step}/{self.total}  {values}"
        if split == "train":
            line += f"  {clock((time.monotonic() - self.began) / (step - self.first) * (self.total - step))} left"
        self.say(line, passing=split == "train")

    def say(self, line: str, *, passing: bool = False) -> None:
        """Write a line to the console and log.txt. passing: on a terminal the next line overwrites it."""
        if not processes.is_main():
            return
        with (self.folder / TEXT).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        stream = messages.stream()
        if self._live:
            stream.write(f"\r\x1b[K{line}" + ("" if passing else "\n"))
        elif not passing or time.monotonic() - self._last_line > LINE_EVERY:
            self._last_line = time.monotonic()
            stream.write(line + "\n")
        stream.flush()


def _truncate(path: Path, step: int) -> None:
    """Remove lines of later steps, and an incomplete last line."""
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    with replacing_file(path) as partial:
        partial.write_text("".join(line + "\n" for line in lines if json.loads(line)["step"] <= step), encoding="utf-8")
