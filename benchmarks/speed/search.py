"""Time of a query to an index of 100,000 items: opening the index, the first query, later queries.

    python benchmarks/speed/search.py [--items 100000] [--width 128] [--rounds 50] [--out benchmarks/results/...]

Random unit vectors, written like those of `zoo index`. Searches for 10 hits with 1, 16 and 256 queries at once, with
torch and, if installed, faiss (IndexFlatIP), interleaved; medians and ranges. The time for embedding a query with the
model is not included.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import torch
from inputs import processor
from rich.console import Console
from torch.nn.functional import normalize

from zoo.search import Index, store
from zoo.search.store import IndexEntry, IndexTable, Space

K = 10


def write(folder: Path, items: int, width: int, storage: str) -> None:
    """An index of random vectors, with paths as long as real paths."""
    generator = torch.Generator().manual_seed(0)
    vectors = normalize(torch.randn(items, width, generator=generator), dim=1).to(getattr(torch, storage))
    entries = [
        IndexEntry(f"/data/music/artist {i // 100}/album {i // 10}/track {i}.flac", None, None, i, i)
        for i in range(items)
    ]
    folder.mkdir(parents=True)
    store.write(folder, Space("", "random", "0" * 16, {}, width, "float32", storage), IndexTable(entries, vectors))


def seconds(index: Index, queries: torch.Tensor) -> float:
    start = time.perf_counter()
    index.search(queries, K)
    return time.perf_counter() - start


def measure(folder: Path, width: int, rounds: int) -> list[str]:
    """Rows of a Markdown table."""
    start = time.perf_counter()
    Index.open(folder)
    opening = time.perf_counter() - start
    backends = ["torch", *(["faiss"] if find_spec("faiss") else [])]
    indexes = {backend: Index.open(folder, backend=backend) for backend in backends}
    lines = [f"| | opening | | {1000 * opening:.0f} |"]
    for count in (1, 16, 256):
        times: dict[str, list[float]] = {backend: [] for backend in backends}
        for turn in range(rounds + 1):
            queries = torch.randn(count, width, generator=torch.Generator().manual_seed(turn))
            for backend, index in indexes.items():
                times[backend].append(1000 * seconds(index, queries))
        for backend, (first, *later) in times.items():
            name = f"{statistics.median(later):.2f} ({min(later):.2f} to {max(later):.2f})"
            lines.append(f"| {backend} | {count} | {first:.1f} | {name} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    lines = [
        f"# Queries to an index of {options.items} x {options.width}, {time.strftime('%Y-%m-%d')}",
        "",
        f"`python benchmarks/speed/search.py --items {options.items} --width {options.width}`",
        "",
        f"commit {commit}, {processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}; milliseconds, "
        f"{options.rounds} interleaved rounds, {K} hits.",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for storage in ("float32", "float16"):
            write(Path(folder, storage), options.items, options.width, storage)
            lines += ["", f"## Stored as {storage}", "", "| | queries at once | first search | median (range) |"]
            lines += ["|-|-|-|-|", *measure(Path(folder, storage), options.width, options.rounds)]
    Console().print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
