"""Runs that are killed (SIGKILL) at chosen moments, for test_extract_resume.

    python kill_runs.py CORPUS FOLDER MOMENT...

A moment is FUNCTION:N, the N-th call of one of `MOMENTS`. Each run has a process of its own, forked before any thread
is started, and its output in FOLDER/MOMENT.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torchaudio.transforms  # noqa: F401 (slow to import: once, for all forks)
from small import small

from zoo import extract
from zoo.encoder import Encoder
from zoo.extract import files

MOMENTS: dict[str, tuple[Any, str]] = {
    "embed": (Encoder, "embed"),  # between two batches
    "write": (pq.ParquetWriter, "write_table"),  # the file is open, its rows are not in it
    "close": (pq.ParquetWriter, "close"),  # rows, but no footer
    "sync": (files, "_sync"),  # in turn: whole, but not in its place; in its place, but not flushed
    "replace": (Path, "replace"),
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


def run(corpus: str, out: Path) -> None:
    extract.run(corpus, small("hubert-base"), out, shard_items=3, batch_seconds=1.5, workers=2, progress=False)


def main(corpus: str, folder: Path, moments: list[str]) -> None:
    for moment in moments:
        name, _, count = moment.partition(":")
        child = os.fork()
        if not child:
            die_at(*MOMENTS[name], int(count))
            run(corpus, folder / moment)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(moment, os.WTERMSIG(status) if os.WIFSIGNALED(status) else f"not killed: {status}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
