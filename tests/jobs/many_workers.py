"""Several worker processes at one job, for test_job; each is a fork, so that torch is imported once.

    python many_workers.py CORPUS FOLDER [COMMAND:COUNT | elsewhere:MOMENT ...]

COMMAND:COUNT: that many workers at once. elsewhere:MOMENT: a worker of another machine that is killed (SIGKILL) at that
moment (see tests/helpers/dying.py), then one that takes its shard over. The output is in FOLDER/ARGUMENT.
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
from small_whisper import small_whisper

from zoo import embed, transcribe
from zoo.data.manifest import Entry
from zoo.encoder import Encoder
from zoo.io import atomic
from zoo.jobs import claims
from zoo.jobs.claims import Claims
from zoo.jobs.plan import Limits
from zoo.models.hubert.model import HuBERT
from zoo.transcribe.task import TranscribeTask
from zoo.units import fit_quantizer, layer
from zoo.units.task import UnitsTask
from zoo.units.writing import write_units

MOMENTS: dict[str, tuple[Any, str]] = {
    "embed": (Encoder, "embed"),
    "claim": (Claims, "take"),
    "close": (pq.ParquetWriter, "close"),
    "sync": (atomic, "_flush"),
    "release": (Claims, "release"),
}
LEASE = 0.5


def run_embed(corpus: str, out: Path, worker: str | None = None) -> object:
    options = {"shard_items": 2, "batch_seconds": 1.5, "workers": 1, "progress": False}
    return embed.run(corpus, small("hubert-base"), out, worker=worker, **options)


def run_units(corpus: str, out: Path, worker: str | None = None) -> object:
    UnitsTask.limits = Limits(2, 900.0, 1.5)
    model = small("hubert-base")
    assert isinstance(model, HuBERT)
    entries = [Entry(path, 1.0, "train") for path in sorted(Path(corpus).rglob("0.wav"))]
    model.attach(fit_quantizer(entries, layer(model, 2), 6))
    return write_units(corpus, model, out / "units.jsonl", workers=1, worker=worker, progress=False)


def run_transcribe(corpus: str, out: Path, worker: str | None = None) -> object:
    TranscribeTask.limits = Limits(2, 600.0)
    options = {"vad": "none", "temperature": 0.0, "language": "en"}
    return transcribe.run(corpus, small_whisper(), out, workers=1, worker=worker, progress=False, **options)


COMMANDS = {"embed": run_embed, "units": run_units, "transcribe": run_transcribe}


def fork(action: Callable[[], object]) -> int:
    child = os.fork()
    if not child:
        action()
        os._exit(0)
    return child


def together(corpus: str, out: Path, case: str) -> None:
    command, _, count = case.partition(":")
    run = COMMANDS[command]
    children = [fork(lambda i=i: run(corpus, out, f"{i}/{count}")) for i in range(int(count))]  # type: ignore[misc]
    print(case, [os.waitpid(child, 0)[1] for child in children])


def taken_over(corpus: str, out: Path, moment: str) -> None:
    """The first worker dies; its claim says that it is of another machine, so only the lease tells."""
    name, _, count = moment.partition(":")

    def die() -> None:
        claims.machine = lambda: "elsewhere"
        die_at(*MOMENTS[name], int(count))
        run_embed(corpus, out, "0/2")

    def take_over() -> None:
        claims.LEASE_SECONDS = LEASE
        run_embed(corpus, out, "1/2")

    print(moment, [os.waitpid(fork(action), 0)[1] for action in (die, take_over)])


if __name__ == "__main__":
    corpus, folder, *cases = sys.argv[1:]
    for case in cases:
        if case.startswith("elsewhere:"):
            moment = case.removeprefix("elsewhere:")
            taken_over(corpus, Path(folder) / case, moment)
        else:
            together(corpus, Path(folder) / case, case)
