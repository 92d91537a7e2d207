"""Measure everything that zoo does on a GPU, in at most 8 minutes, and write one dated result.

    make gpu
    python -m benchmarks.gpu.run [--size full|tiny] [--device cuda|cpu] [--only SECTION ...] [--out FOLDER]

It needs torch and the packages that zoo imports, and no network: audio is noise, weights are random. The result,
gpu-DATE.md and gpu-DATE.json, is written again after each section, so that a run that is stopped keeps what it has.
A rehearsal on the CPU is named gpu-rehearsal-DATE.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.machine import ROOT, Machine, missing_packages
from benchmarks.gpu.report import markdown
from benchmarks.gpu.sections import Result, explain, run_section
from benchmarks.gpu.sizes import SIZES, Size

TOTAL = 455.0  # s
FORMAT = "zoo gpu 1"
SECTIONS = {
    "peak": "contract:PEAK",
    "contract": "contract:CONTRACT",
    "embed": "embedding:EMBED",
    "pretrain": "training:PRETRAIN",
    "train": "training:TRAIN",
    "decode": "decoding:DECODE",
    "k-means": "clustering:KMEANS",
}
"""Name -> module and attribute; imported one by one, so that a package that one of them lacks stops only that one."""


def say(line: str) -> None:
    print(line, flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=list(SIZES), default="full")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write(
            f"torch {torch.__version__} finds no GPU here; `python -m benchmarks.gpu.run --size tiny --device cpu` "
            "rehearses the measurements\n"
        )
        return 2
    began = time.monotonic()
    missing = missing_packages()
    for package, consequence in missing.items():
        say(f"{package} is not installed: {consequence}")
    machine = Machine(torch.device(options.device))
    document = describe(options, machine, missing)
    say(", ".join(f"{key} {value}" for key, value in document["facts"].items()))
    size = SIZES[options.size]
    options.out.mkdir(parents=True, exist_ok=True)
    for name in [name for name in SECTIONS if name in options.only]:
        left = TOTAL - (time.monotonic() - began)
        result = one_section(name, machine, size, left, missing)
        document["sections"].append(result.as_json())
        document["seconds"] = time.monotonic() - began
        document["peak TFLOP/s"] = machine.peak / 1e12
        paths = write(document, options.out, options.device)
    say(f"\n{document['seconds']:.0f} s; written: {', '.join(map(str, paths))}")
    return 0


def one_section(name: str, machine: Machine, size: Size, left: float, missing: dict[str, str]) -> Result:
    """The result of a section, also if its module cannot be imported or no time is left."""
    budget = min(size.budgets.get(name, 60.0), left)
    if budget <= 0:
        return Result(name, name, 0.0, problems={name: "left out: the time of the run was used up"})
    module, _, attribute = SECTIONS[name].partition(":")
    try:
        section = getattr(import_module(f"benchmarks.gpu.{module}"), attribute)
    except Exception as error:
        say(f"\n== {name}: {explain(error)}")
        return Result(name, name, budget, problems={name: explain(error)})
    return run_section(section, machine, size, budget, missing, say)


def describe(options: argparse.Namespace, machine: Machine, missing: dict[str, str]) -> dict[str, Any]:
    """The result before its first section."""
    return {
        "format": FORMAT,
        "date": time.strftime("%Y-%m-%d"),
        "command": f"python -m benchmarks.gpu.run --size {options.size} --device {options.device}",
        "facts": machine.facts(),
        "missing": missing,
        "seconds": 0.0,
        "sections": [],
    }


def write(document: dict[str, Any], folder: Path, device: str) -> list[Path]:
    """The result as JSON and as Markdown."""
    name = "gpu" if device == "cuda" else "gpu-rehearsal"
    stem = folder / f"{name}-{document['date']}"
    paths = [stem.with_suffix(".json"), stem.with_suffix(".md")]
    paths[0].write_text(json.dumps(document, indent=1) + "\n")
    paths[1].write_text("\n".join(markdown(document)) + "\n")
    return paths


if __name__ == "__main__":
    sys.exit(main())
