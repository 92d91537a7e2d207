"""Runs that are killed (SIGKILL) at chosen moments, for test_embed_resume.

    python kill_runs.py CORPUS FOLDER MOMENT...

A moment is FUNCTION:N, the N-th call of one of `MOMENTS` (see tests/helpers/dying.py); its output is in FOLDER/MOMENT.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torchaudio.transforms  # noqa: F401 (slow to import: once, for all forks)
from dying import attempt
from small import small

from zoo import embed
from zoo.encoder import Encoder
from zoo.io import atomic

MOMENTS: dict[str, tuple[Any, str]] = {
    "embed": (Encoder, "embed"),  # between two batches
    "write": (pq.ParquetWriter, "write_table"),  # the file is open, without rows
    "close": (pq.ParquetWriter, "close"),  # rows, but no footer
    "sync": (atomic, "_flush"),  # in turn: complete but not renamed; renamed but not flushed
    "replace": (Path, "replace"),
}


def run(corpus: str, out: Path) -> None:
    embed.run(corpus, small("hubert-base"), out, shard_items=3, batch_seconds=1.5, workers=2, progress=False)


if __name__ == "__main__":
    corpus, folder, *moments = sys.argv[1:]
    attempt(moments, MOMENTS, lambda moment: run(corpus, Path(folder) / moment))
