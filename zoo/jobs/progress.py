"""Progress of a run: a bar on a terminal, otherwise a line from time to time."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task
from rich.table import Column
from rich.text import Text

from zoo.io.text import clock

# Seconds between two lines if there is no terminal.
LINE_EVERY = 15.0


class ProgressMeter:
    """Count the audio seconds and failures of a run; `with ProgressMeter(...) as meter` shows them on the console.

    total: seconds of all inputs. before: seconds that earlier runs processed; they fill the bar but do not count for
    the speed. failed: number of failures in earlier runs.
    """

    def __init__(self, console: Console, *, total: float, before: float, failed: int) -> None:
        self.console, self.total, self.done, self.failed = console, total, before, failed
        self.embedded = 0.0
        self._started = self._last_line = time.monotonic()
        self._bar: Progress | None = None

    def advance(self, seconds: float) -> None:
        """Count this many seconds as processed."""
        self.embedded += seconds
        self._add(seconds)

    def fail(self, seconds: float) -> None:
        """Count one item of this many seconds as failed."""
        self.failed += 1
        self._add(seconds)

    def skip(self, seconds: float, failed: int) -> None:
        """Count the work of another process: it fills the bar but does not count for the speed."""
        self.failed += failed
        self._add(seconds)

    def _add(self, seconds: float) -> None:
        self.done += seconds
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.done)
        elif time.monotonic() - self._last_line > LINE_EVERY:
            self._last_line = time.monotonic()
            self.console.print(self.line(), highlight=False, soft_wrap=True)

    @property
    def real_time_factor(self) -> float:
        """Seconds of audio per second of this run so far."""
        return self.embedded / max(time.monotonic() - self._started, 1e-9)

    def line(self) -> str:
        speed = self.real_time_factor
        left = max(0.0, self.total - self.done)
        eta = f"{clock(left / speed)} left" if speed > 0 else "-:--:-- left"
        hours = f"{self.done / 3600:.2f} / {self.total / 3600:.2f} h"
        return f"{hours}, {speed:.1f}x real time, {eta}" + (f", {self.failed} failed" if self.failed else "")

    def __enter__(self) -> ProgressMeter:
        if self.console.is_terminal and not self.console.quiet:
            self._bar = Progress(
                SpinnerColumn(), BarColumn(None), _MeterLine(self), console=self.console, transient=True, expand=True
            )
            self._bar.update(self._bar.add_task("", total=self.total), completed=self.done)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


class _MeterLine(ProgressColumn):
    """The meter's line beside the bar."""

    def __init__(self, meter: ProgressMeter) -> None:
        super().__init__(Column(no_wrap=True))
        self.meter = meter

    def render(self, task: Task) -> Text:
        return Text(self.meter.line())
