"""Batched probes compared with scikit-learn: all layers x penalties x seeds, the same splits and penalties.

    python benchmarks/speed/probe.py [--layers 13] [--items 3000] [--width 768] [--classes 10] [--seeds 5]
        [--exact 4 8 12] [--out benchmarks/results/...]

Synthetic features with a spectrum that falls like that of encoder features, and a class signal that grows with the
layer. Both get standardized float32 features of 90 % of the items for each seed. LogisticRegression of scikit-learn has
its default settings (lbfgs, 100 iterations). It is timed in two ways: all fits in as many worker processes as there are
threads; and the fits of one seed one after the other with all threads, times the number of seeds. It stops early, and
in float32 it cannot get close to the minimum. So the accuracies of some layers (--exact) also come from converged runs:
float64, tolerance 1e-8, at most 3,000 iterations, not timed. The batched probes are timed in the same process, three
times before the runs of scikit-learn and three times after.
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
from inputs import processor
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
        accuracy = ours(data, weights, config)
        times.append(time.perf_counter() - start)
    return accuracy, times


def fit(x: np.ndarray, y: np.ndarray, t: np.ndarray, row: np.ndarray, penalty: float, exact: bool) -> list[float]:
    """One probe of scikit-learn: its test accuracy, and 1.0 if it reached the maximum number of iterations."""
    selected = row > 0
    model = LogisticRegression(C=1 / (penalty * selected.sum()))
    if exact:
        x, t = x.astype(np.float64), t.astype(np.float64)
        model.set_params(tol=1e-8, max_iter=3000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(x[selected], y[selected])
    return [model.score(t, y), float(bool(caught))]


def theirs(
    data: list[tuple[Tensor, Tensor, np.ndarray]],
    weights: np.ndarray,
    config: ProbeConfig,
    workers: int,
    exact: bool = False,
) -> tuple[np.ndarray, int, float]:
    """Test accuracy (L, R, S), number of fits that reached the maximum number of iterations, and total seconds."""
    jobs = [
        delayed(fit)(x.numpy(), y, t.numpy(), row, penalty, exact)
        for x, t, y in data
        for penalty in config.penalties
        for row in weights
    ]
    with Parallel(n_jobs=workers) as pool:
        pool(jobs[:workers])  # starts the processes
        start = time.perf_counter()
        outcomes = np.array(pool(jobs))
        seconds = time.perf_counter() - start
    shape = len(data), len(config.penalties), len(weights)
    return outcomes[:, 0].reshape(shape), int(outcomes[:, 1].sum()), seconds


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
    Console(stderr=True).print(f"{np.median(times):.2f} s, scikit-learn {side_by_side:.1f} s; next: one fit at a time")
    serial = options.seeds * theirs(data, weights[:1], config, 1)[2]
    times += timed(data, weights, config)[1]
    quick = float(np.median(times))
    Console(stderr=True).print(f"{serial:.1f} s; next: converged fits")
    chosen = [k for k in options.exact if k < options.layers]
    exact, unfinished, _ = theirs([data[k] for k in chosen], weights, config, workers, exact=True)
    gap = 100 * np.abs(fast[chosen].mean(-1) - exact.mean(-1))  # (E, R)
    best = 100 * (fast[chosen].mean(-1).max(1) - exact.mean(-1).max(1))  # (E,)
    exact_best = dict(zip(chosen, (f"{accuracy:.4f}" for accuracy in exact.mean(-1).max(1)), strict=True))
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
                (f"one fit at a time: one seed, x {options.seeds}", serial),
            )
        ),
        "",
        f"{stopped} of the {fits} fits of scikit-learn stopped at 100 iterations. Compared with converged fits in "
        f"float64 at layers {', '.join(map(str, chosen))} ({unfinished} fits did not converge):",
        "accuracy at the best penalty of each layer, mean over seeds, batched minus scikit-learn: "
        f"{best.min():+.2f} to {best.max():+.2f} points; largest difference at any penalty: {gap.max():.2f} points.",
        "",
        "| layer | best accuracy, batched | scikit-learn, default settings | scikit-learn, converged |",
        "|-|-|-|-|",
        *(
            f"| {k} | {fast[k].mean(-1).max():.4f} | {slow[k].mean(-1).max():.4f} | {exact_best.get(k, '')} |"
            for k in range(options.layers)
        ),
    ]
    Console().print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
