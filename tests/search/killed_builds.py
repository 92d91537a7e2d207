"""Builds that are killed (SIGKILL) at chosen moments, for test_search_resume.

    python killed_builds.py AUDIO FOLDER MOMENT...

A moment is FUNCTION:N, the N-th call of one of `MOMENTS` (see tests/helpers/dying.py); its index is in FOLDER/MOMENT.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
from bands import Bands, BandsConfig
from dying import attempt

from zoo.encoder import Encoder
from zoo.io import atomic
from zoo.search import IndexSummary, build, increment, store

MOMENTS: dict[str, tuple[Any, str]] = {
    "embed": (Encoder, "embed"),
    "save": (store, "save_file"),  # before a byte of the index is written
    "sync": (atomic, "_flush"),  # in turn: a file is complete but not renamed; renamed but not flushed
    "replace": (Path, "replace"),
    "unlink": (Path, "unlink"),  # while the increment is being removed
}


def run(audio: Path, out: Path) -> IndexSummary:
    increment.SHARD_ITEMS = 2
    return build(audio, Bands(BandsConfig()), out, workers=1, progress=False)


if __name__ == "__main__":
    audio, folder, *moments = sys.argv[1:]
    pyarrow.array([0.0]).to_pylist()  # does slow imports once, for all forks
    attempt(moments, MOMENTS, lambda moment: run(Path(audio), Path(folder) / moment))
