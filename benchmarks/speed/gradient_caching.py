"""Gradient caching compared with one large batch: gradients, time and peak memory.

    python benchmarks/speed/gradient_caching.py [--model mulan-mini-ast] [--pairs 256] [--micro 32] [--out FILE.md]

One step is forward and backward of --model on random spectrograms and texts, once as one batch and once in
micro-batches of --micro pairs. Each variant runs in its own process, for a separate memory peak. The peak excludes
model and data. Gradients are compared without dropout and SpecAugment, relative to their norm. Gradients in float64,
which are not timed, show how much of a difference is rounding.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from inputs import processor
from rich.console import Console
from torch import Tensor, nn

import zoo
from zoo.data.manifest import Entry
from zoo.models.mulan.audio import SpecAugment
from zoo.models.mulan.model import MuLan
from zoo.recipes.mulan.config import MulanTrainConfig
from zoo.recipes.mulan.spectra import PairBatch
from zoo.recipes.mulan.task import Contrast
from zoo.train import Output

TOKENS = 24
VARIANTS = {"plain": "one batch of {pairs}", "cached": "micro-batches of {micro}, gradients cached"}


def make_task(name: str) -> Contrast:
    torch.manual_seed(0)
    model = zoo.create(name)
    assert isinstance(model, MuLan)
    model.augment = SpecAugment(0, 0, 0, 0)
    task = Contrast(model, replace(MulanTrainConfig(), model=model.config)).train()
    module: Any
    for module in task.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    return task


def make_batch(model: MuLan, pairs: int, first: int) -> PairBatch:
    generator = torch.Generator().manual_seed(first)
    return PairBatch(
        waves=torch.zeros(pairs, 0),
        lengths=torch.full((pairs,), model.hop),
        indices=torch.arange(pairs),
        starts=torch.zeros(pairs, dtype=torch.int64),
        seeds=torch.arange(pairs),
        entries=[Entry(Path(f"{first + i}.wav"), 10.0, "train") for i in range(pairs)],
        mel=torch.randn(pairs, model.mel_frames, model.config.mels, generator=generator) * 4 - 4,
        mel_lengths=torch.full((pairs,), model.mel_frames),
        ids=torch.randint(5, model.config.vocab_size, (pairs, TOKENS), generator=generator),
        text_lengths=torch.full((pairs,), TOKENS),
    )


def join_batches(batches: list[PairBatch]) -> PairBatch:
    """One batch from several batches of equal widths."""
    values: dict[str, Any] = {}
    for name, first in vars(batches[0]).items():
        values_of_batches = [getattr(batch, name) for batch in batches]
        values[name] = torch.cat(values_of_batches) if isinstance(first, torch.Tensor) else first
    values["entries"] = [entry for batch in batches for entry in batch.entries]
    return PairBatch(**values)


def peak() -> float:
    """Peak resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def backward(output: Output) -> None:
    output.loss.backward()


def make_batches(options: argparse.Namespace, name: str, model: MuLan) -> list[PairBatch]:
    parts = [make_batch(model, options.micro, first) for first in range(0, options.pairs, options.micro)]
    return parts if name == "cached" else [join_batches(parts)]


def gradient(task: Contrast) -> Tensor:
    return torch.cat([p.grad.flatten() for p in task.parameters() if p.grad is not None])


def variant(options: argparse.Namespace) -> None:
    """Run one variant in this process. Writes its gradient, times and memory peak to options.save."""
    task = make_task(options.model)
    batches = make_batches(options, options.variant, task.model)
    before, times = peak(), []
    for _ in range(options.rounds + 1):
        task.zero_grad()
        began = time.perf_counter()
        task.accumulate(batches, backward)
        times.append(time.perf_counter() - began)
    torch.save({"gradient": gradient(task), "times": times[1:], "peak": peak() - before}, options.save)


def in_float64(options: argparse.Namespace, name: str) -> Tensor:
    task = make_task(options.model).double()
    batches = make_batches(options, name, task.model)
    for batch in batches:
        batch.mel = batch.mel.double()
    task.accumulate(batches, backward)
    return gradient(task)


def differences(options: argparse.Namespace, plain: Tensor, cached: Tensor) -> str:
    """A sentence about the differences between the gradients. plain, cached: in fp32."""
    exact = {name: in_float64(options, name) for name in VARIANTS}

    def distance(a: Tensor, b: Tensor) -> str:
        return f"{float((a.double() - b.double()).norm() / exact['plain'].norm()):.1e}"

    return (
        f"Gradients, relative to their norm: the two differ by {distance(exact['cached'], exact['plain'])} in float64 "
        f"and by {distance(cached, plain)} in fp32, where the plain batch is {distance(plain, exact['plain'])} from "
        f"float64 and the cached one {distance(cached, exact['plain'])}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mulan-mini-ast")
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--micro", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--variant", choices=VARIANTS, help="internal")
    parser.add_argument("--save", type=Path, help="internal")
    options = parser.parse_args()
    if options.variant:
        variant(options)
        return
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in VARIANTS:
            save = Path(folder) / f"{name}.pt"
            sizes = [f"--{key}={getattr(options, key)}" for key in ("model", "pairs", "micro", "rounds")]
            subprocess.run([sys.executable, __file__, *sizes, f"--variant={name}", f"--save={save}"], check=True)
            results[name] = torch.load(save, weights_only=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    lines = [
        f"# Gradient caching, {time.strftime('%Y-%m-%d')}",
        "",
        f"`python benchmarks/speed/gradient_caching.py --model {options.model} --pairs {options.pairs} --micro "
        f"{options.micro} --rounds {options.rounds}`",
        "",
        f"commit {commit}, {processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}; fp32, a step "
        f"contrasts {options.pairs} pairs; medians.",
        "",
        differences(options, results["plain"]["gradient"], results["cached"]["gradient"]),
        "",
        "| variant | s a step (min to max) | peak memory beyond model and data, MB |",
        "|-|-|-|",
    ]
    for name, label in VARIANTS.items():
        times = results[name]["times"]
        spread = f"{statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})"
        lines.append(f"| {label.format(**vars(options))} | {spread} | {results[name]['peak']:.0f} |")
    Console().print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
