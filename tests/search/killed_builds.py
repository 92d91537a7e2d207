"""Builds that are killed (SIGKILL) at chosen moments, for test_search_resume.

    python killed_builds.py AUDIO FOLDER MOMENT...

A moment is FUNCTION:N, the N-th call of one of `MOMENTS`. Each build has a process of its own, forked before any thread
is started, and its index in FOLDER/MOMENT.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
from bands import Bands, BandsConfig

from zoo.encoder import Encoder
from zoo.extract import files
from zoo.search import Summary, build, increment, store

MOMENTS: dict[str, tuple[Any, str]] = {
    "embed": (Encoder, "embed"),
    "save": (store, "save_file"),  # before a byte of the index is written
    "sync": (files, "_sync"),  # in turn: a file is whole, but not in its place; in its place, but not flushed
    "replace": (Path, "replace"),
    "unlink": (Path, "unlink"),  # in the middle of clearing the increment away
}


def die_at(owner: Any, name: str, count: int) -> None:
    """Replace a function by one that kills the process when it is called for the count-th time."""
    whole: Callable[..., Any] = getattr(owner, name)
    left = count

    def dying(*args: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*args, **options)

    setattr(owner, name, dying)


def run(audio: Path, out: Path) -> Summary:
    increment.SHARD_ITEMS = 2
    return build(audio, Bands(BandsConfig()), out, workers=1, progress=False)


def main(audio: Path, folder: Path, moments: list[str]) -> None:
    pyarrow.array([0.0]).to_pylist()  # imports what is slow to import once, for all forks
    for moment in moments:
        name, _, count = moment.partition(":")
        child = os.fork()
        if not child:
            die_at(*MOMENTS[name], int(count))
            run(audio, folder / moment)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(moment, os.WTERMSIG(status) if os.WIFSIGNALED(status) else f"not killed: {status}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
