"""Batched probes against scikit-learn: every layer x every penalty x every seed, the same splits and penalties.

    python benchmarks/speed/probe.py [--layers 13] [--items 3000] [--width 768] [--classes 10] [--seeds 5]
        [--exact 4 8 12] [--out benchmarks/results/...]

Synthetic features with a spectrum that falls as those of encoders do, and a class signal that grows with the layer.
Both sides get standardized float32 features of 90 % of the items a seed. scikit-learn runs LogisticRegression as it
comes (lbfgs, 100 iterations), all fits in as many worker processes as there are threads; and the fits of one seed one
after the other with all threads in its products, whose time is taken times the seeds. It stops early, and cannot come
near the minimum in float32, so the accuracies of some layers (--exact) are also taken from runs to the end: float64, a
tolerance of 1e-8, at most 3,000 iterations, untimed. Ours is timed in the same process, three times before
scikit-learn's runs and three times after.
"""

from __future__ import annotations

import argparse
import subprocess
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn
import torch
from embed import processor
from joblib import Parallel, delayed
from rich.console import Console
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from zoo.benchmarks.probe import ProbeConfig, Split, fit_layer, seed_weights


def features(layer: int, items: int, width: int, classes: int) -> tuple[Tensor, Tensor, np.ndarray]:
    """Train and test features (N, D) of one layer, and the labels that both share."""
    shared = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (items,), generator=shared)
    own = torch.Generator().manual_seed(layer + 1)
    basis = torch.linalg.qr(torch.randn(width, width, generator=own))[0]
    spectrum = torch.arange(1, width + 1).float() ** -0.75
    means = torch.randn(classes, width, generator=own) * (0.04 + 0.01 * layer)
    both = [(torch.randn(items, width, generator=own) + means[labels]) * spectrum @ basis for _ in range(2)]
    center, scale = both[0].mean(0), both[0].std(0)
    train, test = ((x - center) / scale for x in both)
    return train, test, labels.numpy()


def ours(data: list[tuple[Tensor, Tensor, np.ndarray]], weights: np.ndarray, config: ProbeConfig) -> np.ndarray:
    """Test accuracy (L, R, S)."""
    return np.array([(fit_layer(x, y, weights, config)(t) == y).mean(-1) for x, t, y in data])


def timed(
    data: list[tuple[Tensor, Tensor, np.ndarray]], weights: np.ndarray, config: ProbeConfig
) -> tuple[np.ndarray, list[float]]:
    """Test accuracy (L, R, S), and the seconds of three runs."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        found = ours(data, weights, config)
        times.append(time.perf_counter() - start)
    return found, times


def fit(x: np.ndarray, y: np.ndarray, t: np.ndarray, row: np.ndarray, penalty: float, exact: bool) -> list[float]:
    """One of scikit-learn's probes: its test accuracy, and 1.0 if it ran out of iterations."""
    kept = row > 0
    model = LogisticRegression(C=1 / (penalty * kept.sum()))
    if exact:
        x, t = x.astype(np.float64), t.astype(np.float64)
        model.set_params(tol=1e-8, max_iter=3000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(x[kept], y[kept])
    return [model.score(t, y), float(bool(caught))]


def theirs(
    data: list[tuple[Tensor, Tensor, np.ndarray]],
    weights: np.ndarray,
    config: ProbeConfig,
    workers: int,
    exact: bool = False,
) -> tuple[np.ndarray, int, float]:
    """Test accuracy (L, R, S), how many fits ran out of iterations, and the seconds that all took."""
    jobs = [
        delayed(fit)(x.numpy(), y, t.numpy(), row, penalty, exact)
        for x, t, y in data
        for penalty in config.penalties
        for row in weights
    ]
    with Parallel(n_jobs=workers) as pool:
        pool(jobs[:workers])  # starts the processes
        start = time.perf_counter()
        found = np.array(pool(jobs))
        seconds = time.perf_counter() - start
    shape = len(data), len(config.penalties), len(weights)
    return found[:, 0].reshape(shape), int(found[:, 1].sum()), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (
        ("layers", 13),
        ("items", 3000),
        ("width", 768),
        ("classes", 10),
        ("seeds", 5),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--exact", type=int, nargs="*", default=[4, 8, 12])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    data = [features(k, options.items, options.width, options.classes) for k in range(options.layers)]
    config = ProbeConfig(seeds=options.seeds)
    split = Split(lambda k: data[k][0], data[0][2], np.arange(options.items))
    weights = seed_weights(split, config)
    ours(data[:1], weights, config)  # the first product loads oneDNN's kernels
    fast, times = timed(data, weights, config)
    workers = torch.get_num_threads()
    slow, stopped, side_by_side = theirs(data, weights, config, workers)
    Console(stderr=True).print(f"{np.median(times):.2f} s, scikit-learn {side_by_side:.1f} s; now fit by fit")
    serial = options.seeds * theirs(data, weights[:1], config, 1)[2]
    times += timed(data, weights, config)[1]
    quick = float(np.median(times))
    Console(stderr=True).print(f"{serial:.1f} s; now to the end")
    chosen = [k for k in options.exact if k < options.layers]
    exact, unfinished, _ = theirs([data[k] for k in chosen], weights, config, workers, exact=True)
    gap = 100 * np.abs(fast[chosen].mean(-1) - exact.mean(-1))  # (E, R)
    best = 100 * (fast[chosen].mean(-1).max(1) - exact.mean(-1).max(1))  # (E,)
    found = dict(zip(chosen, (f"{accuracy:.4f}" for accuracy in exact.mean(-1).max(1)), strict=True))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    fits = fast.size
    lines = [
        f"# {options.layers} layers x {len(config.penalties)} penalties x {options.seeds} seeds, "
        f"{options.items} x {options.width}, {options.classes} classes, {time.strftime('%Y-%m-%d')}",
        "",
        "`python benchmarks/speed/probe.py`",
        "",
        f"commit {commit}, {processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"scikit-learn {sklearn.__version__}.",
        "",
        "| | seconds | per fit, ms | batched is faster |",
        "|-|-|-|-|",
        f"| batched, median of 6 | {quick:.2f} ({min(times):.2f} to {max(times):.2f}) | {1000 * quick / fits:.1f} | |",
        *(
            f"| scikit-learn, {how} | {seconds:.1f} | {1000 * seconds / fits:.1f} | {seconds / quick:.1f} times |"
            for how, seconds in (
                (f"{workers} processes", side_by_side),
                (f"fit by fit: one seed, x {options.seeds}", serial),
            )
        ),
        "",
        f"{stopped} of scikit-learn's {fits} fits stopped at 100 iterations. Run to the end in float64 at layers "
        f"{', '.join(map(str, chosen))} ({unfinished} fits unfinished):",
        f"accuracy at each layer's best penalty, mean over seeds, ours minus theirs: {best.min():+.2f} to "
        f"{best.max():+.2f} points; largest difference at any of their penalties: {gap.max():.2f} points.",
        "",
        "| layer | best accuracy, batched | scikit-learn as it comes | scikit-learn to the end |",
        "|-|-|-|-|",
        *(
            f"| {k} | {fast[k].mean(-1).max():.4f} | {slow[k].mean(-1).max():.4f} | {found.get(k, '')} |"
            for k in range(options.layers)
        ),
    ]
    Console().print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
