"""Processes that are killed (SIGKILL) at chosen moments: the loop that the kill-and-resume tests share.

A moment is FUNCTION:N, the N-th call of a function that the script lists. Each attempt runs in its own process, forked
before any thread is started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def die_at(owner: Any, name: str, count: int) -> None:
    """Replace a function by one that kills the process when it is called for the count-th time."""
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def killing(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **options)

    setattr(owner, name, killing)


def attempt(moments: Sequence[str], functions: Mapping[str, tuple[Any, str]], run: Callable[[str], Any]) -> None:
    """Fork once for each moment, call run(moment) there, and print what ended it."""
    for moment in moments:
        name, _, count = moment.partition(":")
        child = os.fork()
        if not child:
            die_at(*functions[name], int(count))
            run(moment)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(moment, os.WTERMSIG(status) if os.WIFSIGNALED(status) else f"not killed: {status}", flush=True)


def kill(script: str, arguments: Sequence[str | Path], moments: Sequence[str], threads: int | None = None) -> list[str]:
    """Run a script that calls `attempt`, with arguments and moments; returns the lines it printed.

    threads: default: as many as this process has, so that both compute the same bits.
    """
    done = subprocess.run(
        [sys.executable, script, *arguments, *moments],
        env=environment(Path(script).parent, threads),
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()


def environment(folder: Path, threads: int | None = None) -> dict[str, str]:
    """Environment for a process that can import from `folder`, tests/helpers and this clone; threads as in `kill`."""
    import torch  # imported late: the scripts that `kill` runs decide what is loaded before they fork

    threads = threads or torch.get_num_threads()
    here = Path(__file__).parent
    path = os.pathsep.join(map(str, (folder, here, here.parents[1])))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)}
