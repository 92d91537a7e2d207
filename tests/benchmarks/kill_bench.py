"""Benchmark runs that are killed (SIGKILL) at chosen moments, for test_run.

    python kill_bench.py MANIFEST FOLDER MOMENT...

A moment is FUNCTION:N, the N-th call of one of `MOMENTS` (see tests/helpers/dying.py); its output is in FOLDER/MOMENT.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torchaudio.transforms  # noqa: F401 (slow to import: once, for all forks)
from dying import attempt
from rich.console import Console
from small import small

from zoo.benchmarks import evaluate, features, results, robustness, runner
from zoo.benchmarks.suite import Suite, SuiteSource, SuiteTask
from zoo.io import atomic

MOMENTS: dict[str, tuple[Any, str]] = {
    "save": (np, "save"),  # between the files of a shard
    "sync": (atomic, "_flush"),
    "probe": (evaluate, "run_probe"),
    "robustness": (robustness, "from_rows"),
    "write": (results.Store, "_write"),
}


def tone_suite(manifest: str | Path) -> Suite:
    """Three tasks on one corpus of tones, in shards of 16 clips."""
    features.SHARD = 16
    return Suite(
        "tones",
        frames=3,
        data={"tones": SuiteSource(str(manifest))},
        tasks=[
            SuiteTask("pitch", "tones", "class", "pitch", metric="accuracy", seeds=2),
            SuiteTask("phones", "tones", "phones", metric="accuracy", seeds=2),
            SuiteTask("pitch, changed", "tones", "robustness", of="pitch", conditions=["white 0", "telephone"]),
        ],
    )


def run(manifest: str | Path, out: Path) -> results.Store:
    quiet = Console(quiet=True)
    return runner.run(
        [small("hubert-base")], tone_suite(manifest), out, cache=out / "cache", baselines=False, console=quiet
    )


if __name__ == "__main__":
    manifest_, folder, *moments = sys.argv[1:]
    attempt(moments, MOMENTS, lambda moment: run(manifest_, Path(folder) / moment))
