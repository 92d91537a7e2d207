"""Sections of cases, and how they run: a case that fails is reported, and the others go on.

A section has a time budget. When it is used up, its remaining cases are left out, and named in the result.
"""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.gpu.machine import Machine
from benchmarks.gpu.sizes import Size

Row = dict[str, Any]
HANGS = 20.0  # s over its budget at which a section is interrupted inside a case


@dataclass(frozen=True)
class Case:
    """run: the measurement, which gives rows of the section's table; needs: packages it cannot do without."""

    name: str
    run: Callable[[], Iterable[Row]]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """cases: of a machine and a size."""

    name: str
    title: str
    cases: Callable[[Machine, Size], Sequence[Case]]


@dataclass
class Result:
    """problems: case -> why it gave no numbers."""

    name: str
    title: str
    budget: float
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class OutOfTime(BaseException):
    """A case runs far beyond the budget of its section."""


def run_section(
    section: Section,
    machine: Machine,
    size: Size,
    budget: float,
    missing: Mapping[str, str],
    say: Callable[[str], None],
) -> Result:
    """Run the cases of a section, within its budget in seconds."""
    result = Result(section.name, section.title, budget)
    began = time.monotonic()
    say(f"\n== {section.title} (at most {budget:.0f} s)")
    try:
        with interrupted_after(budget + HANGS):
            for case in section.cases(machine, size):
                if time.monotonic() - began > budget:
                    result.problems[case.name] = "left out: the time of the section was used up"
                else:
                    _run_case(case, result, missing, say)
                machine.free()
    except OutOfTime:
        result.problems[section.name] = f"interrupted {HANGS:.0f} s after the end of its time"
    except Exception as error:
        result.problems[section.name] = explain(error)
    result.seconds = time.monotonic() - began
    for name, problem in result.problems.items():
        say(f"   ! {name}: {problem}")
    say(f"   {len(result.rows)} rows in {result.seconds:.1f} s")
    return result


def _run_case(case: Case, result: Result, missing: Mapping[str, str], say: Callable[[str], None]) -> None:
    absent = [package for package in case.needs if package in missing]
    if absent:
        result.problems[case.name] = f"needs {', '.join(absent)}, which is not installed"
        return
    try:
        for row in case.run():
            result.rows.append(row)
            say("   " + ", ".join(f"{key} {shown(value)}" for key, value in row.items() if value is not None))
    except Exception as error:  # the rows before it stay
        result.problems[case.name] = explain(error)


def explain(error: Exception) -> str:
    """The error and where it was raised, as one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    text = " ".join(str(error).split())[:400]
    return f"{type(error).__name__}: {text}{place}"


def shown(value: Any) -> str:
    """A number with three significant digits, without an exponent; other values as they are."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-3 else f"{value:.1e}"


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Raise OutOfTime inside the block after that many seconds."""

    def stop(*_: Any) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
