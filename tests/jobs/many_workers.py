"""Several worker processes at one job, for test_job; each is a fork, so that torch is imported once.

    python many_workers.py CORPUS FOLDER [COUNT | elsewhere:MOMENT ...]

COUNT: that many workers at once, into FOLDER/COUNT. elsewhere:MOMENT: a worker of another machine that is killed
(SIGKILL) at that moment (see tests/helpers/dying.py), then one that takes its shard over, into FOLDER/MOMENT.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torchaudio.transforms  # noqa: F401 (slow to import: once, for all forks)
from dying import die_at
from small import small

from zoo import embed
from zoo.encoder import Encoder
from zoo.io import atomic
from zoo.jobs import claims
from zoo.jobs.claims import Claims

MOMENTS: dict[str, tuple[Any, str]] = {
    "embed": (Encoder, "embed"),
    "claim": (Claims, "take"),
    "close": (pq.ParquetWriter, "close"),
    "sync": (atomic, "_flush"),
    "release": (Claims, "release"),
}
LEASE = 0.5


def run(corpus: str, out: Path, worker: str | None = None) -> embed.EmbedSummary:
    options = {"shard_items": 2, "batch_seconds": 1.5, "workers": 1, "progress": False}
    return embed.run(corpus, small("hubert-base"), out, worker=worker, **options)


def fork(action: Callable[[], object]) -> int:
    child = os.fork()
    if not child:
        action()
        os._exit(0)
    return child


def together(corpus: str, out: Path, count: int) -> None:
    children = [fork(lambda i=i: run(corpus, out, f"{i}/{count}")) for i in range(count)]  # type: ignore[misc]
    for child in children:
        print(count, os.waitpid(child, 0)[1])


def taken_over(corpus: str, out: Path, moment: str) -> None:
    """The first worker dies; its claim says that it is of another machine, so only the lease tells."""
    name, _, count = moment.partition(":")

    def die() -> None:
        claims.machine = lambda: "elsewhere"
        die_at(*MOMENTS[name], int(count))
        run(corpus, out, "0/2")

    def take_over() -> None:
        claims.LEASE_SECONDS = LEASE
        run(corpus, out, "1/2")

    print(moment, [os.waitpid(fork(action), 0)[1] for action in (die, take_over)])


if __name__ == "__main__":
    corpus, folder, *cases = sys.argv[1:]
    for case in cases:
        if case.isdecimal():
            together(corpus, Path(folder) / case, int(case))
        else:
            moment = case.removeprefix("elsewhere:")
            taken_over(corpus, Path(folder) / moment, moment)
