"""k-means of 200,000 x 256 features into 200 clusters: zoo, faiss and scikit-learn compared.

    python benchmarks/speed/kmeans.py [--rows 200000] [--width 256] [--k 200] [--rounds 3] [--only zoo ...] [--out ...]

Features: a mixture of 500 correlated Gaussians of different weight and width. They overlap like speech features.

  zoo           KMeans(k, seed)
  faiss         Kmeans(niter=20) on all rows
  scikit-learn  MiniBatchKMeans as published with HuBERT: batch 10,000, k-means++, n_init 20, max_iter 100, tol 0,
                max_no_improvement 100, reassignment_ratio 0

Each fit runs in its own process. Systems alternate, and each round has another seed. The same code computes the inertia
(sum of squared distances, in float64) of all systems. Memory: the peak resident set during the fit minus the resident
set before, which is mostly the features.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from inputs import mixture, processor
from rich.console import Console

from zoo.cluster import KMeans

PACKAGES = {"zoo": "audiozoo", "faiss": "faiss-cpu", "scikit-learn": "scikit-learn"}


def fit(system: str, x: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Centroids (k, width)."""
    if system == "zoo":
        return KMeans(k, seed).fit(x).centroids.numpy()
    if system == "faiss":
        import faiss

        model: Any = faiss.Kmeans(x.shape[1], k, niter=20, seed=seed, max_points_per_centroid=len(x))
        model.train(x)
        return model.centroids
    from sklearn.cluster import MiniBatchKMeans

    options: dict[str, Any] = {"batch_size": 10_000, "n_init": 20, "max_iter": 100, "tol": 0.0}
    options |= {"max_no_improvement": 100, "reassignment_ratio": 0.0, "compute_labels": False}
    return MiniBatchKMeans(k, init="k-means++", random_state=seed, **options).fit(x).cluster_centers_


def child(system: str, path: str, k: int, seed: int) -> None:
    """Print seconds, MiB and inertia of one fit as JSON."""
    x = np.load(path)
    fit(system, x[: 20 * k, :8].copy(), k, seed) if system != "scikit-learn" else None  # starts thread pools
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak resident set
    start = time.perf_counter()
    centroids = fit(system, x, k, seed)
    seconds = time.perf_counter() - start
    memory = resident("VmHWM") - before
    model = KMeans(k)
    model._centroids = torch.from_numpy(np.ascontiguousarray(centroids, dtype=np.float32))
    sys.stdout.write(json.dumps({"seconds": seconds, "memory": memory, "inertia": model.inertia(x)}))


def resident(key: str) -> float:
    """VmRSS or VmHWM of this process, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def row(system: str, results: list[dict[str, float]]) -> str:
    def spread(key: str, form: str) -> str:
        values = [result[key] for result in results]
        return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"

    name = f"{system} {version(PACKAGES[system])}"
    return f"| {name} | {spread('seconds', '.2f')} | {spread('inertia', '.5e')} | {spread('memory', '.0f')} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--k", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=list(PACKAGES), choices=list(PACKAGES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        system, path, k, seed = options.child
        child(system, path, int(k), int(seed))
        return
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    results: dict[str, list[dict[str, float]]] = {system: [] for system in options.only}
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/x.npy"
        np.save(path, mixture(options.rows, options.width).numpy())
        for seed in range(options.rounds):
            for system in options.only:
                command = [sys.executable, __file__, "--child", system, path, str(options.k), str(seed)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                results[system].append(json.loads(done.stdout.splitlines()[-1]))
    lines = [
        f"# k-means of {options.rows} x {options.width} into {options.k}, {time.strftime('%Y-%m-%d')}",
        "",
        f"`python benchmarks/speed/kmeans.py {' '.join(sys.argv[1:])}`",
        "",
        f"commit {commit}, {processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}; median (range) "
        f"of {options.rounds} rounds.",
        "",
        "| | seconds | inertia | MiB beyond the features |",
        "|-|-|-|-|",
        *(row(system, system_results) for system, system_results in results.items()),
    ]
    Console().print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
