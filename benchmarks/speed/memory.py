"""Peak memory of `zoo embed` with HuBERT Base: one hour in one file, and 2,000 short files.

    python benchmarks/speed/memory.py [--dtype auto] [--hours 1] [--files 2000]

Random weights, generated noise (44.1 kHz stereo WAV for the hour, 16 kHz FLAC of 0.5 to 4 s for the files). Each case
runs in its own process. The script prints the peak resident set, as counted by the kernel, and the wall time.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from rich.console import Console

import zoo


def write_hours(path: Path, hours: float) -> None:
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 44_100, 2) as file:
        for _ in range(round(hours * 60)):
            file.write(rng.normal(scale=0.1, size=(60 * 44_100, 2)).clip(-1, 1))


def write_files(folder: Path, count: int) -> None:
    rng = np.random.default_rng(1)
    folder.mkdir()
    for i in range(count):
        samples = int(rng.uniform(0.5, 4) * 16_000)
        soundfile.write(folder / f"{i:05}.flac", rng.normal(scale=0.1, size=samples).clip(-1, 1), 16_000)


def measure(arguments: list[str]) -> tuple[float, float]:
    """Run `zoo ...` in a child process. Returns its peak resident set in GiB and its seconds; exits if it fails."""
    start = time.perf_counter()
    child = os.posix_spawn(sys.executable, [sys.executable, "-m", "zoo", *arguments], dict(os.environ))
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"zoo {' '.join(arguments)} failed with status {status}")
    return usage.ru_maxrss / 2**20, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--files", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        zoo.create("hubert-base").save(folder / "model")
        write_hours(folder / "hour.wav", options.hours)
        write_files(folder / "files", options.files)
        for title, source in ((f"{options.hours:g} h in one file", "hour.wav"), (f"{options.files} files", "files")):
            command = ["embed", str(folder / source), "-m", str(folder / "model"), "-o", str(folder / f"{source}.out")]
            peak, seconds = measure([*command, "--dtype", options.dtype, "--quiet"])
            Console().print(f"{title}, {options.dtype}: {peak:.2f} GiB resident at most, {seconds:.0f} s")


if __name__ == "__main__":
    main()
