"""Whether units of each round of HuBERT pre-training tell phones better than those of the round before.

    python -m benchmarks.hubert.rounds RUN... [--fits 5] [--units 100] [--hours 0.5]

RUN is a finished run of `python -m zoo.recipes.hubert.train` on a corpus whose dev split has phones. K-means from other
starting points gives other units, which differ as much as those of two rounds: so each layer is clustered `fits` times.
Shown are MFCC and the best layer of each round, by mean PNMI: means over the fits, with standard deviations.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from rich.console import Console

import zoo
from zoo.data import sources
from zoo.data.alignments import SILENCES
from zoo.data.manifest import Entry
from zoo.units import FeatureSource, fit_quantizer, label_corpus, layer, measure, mfcc39


@dataclass(frozen=True)
class Found:
    """Of the units of one layer, a value for each fit."""

    layer: int
    pnmi: list[float]
    purity: list[float]
    spoken_purity: list[float]  # silence left out

    def cells(self) -> list[str]:
        return [
            f"{statistics.mean(x):.4f} ({statistics.stdev(x):.4f})"
            for x in (self.pnmi, self.purity, self.spoken_purity)
        ]


def measured(source: FeatureSource, entries: Sequence[Entry], fits: int, units: int, hours: float) -> Found:
    train, dev = ([e for e in entries if e.split == split] for split in ("train", "dev"))
    quantizer = fit_quantizer(train, source, (units,) * fits, hours=hours)
    with TemporaryDirectory() as folder:
        labels = label_corpus(quantizer, source, dev, folder)
        heard = [measure(labels, dev, codebook=book) for book in range(fits)]
        spoken = [measure(labels, dev, codebook=book, ignore=SILENCES).phone_purity for book in range(fits)]
    return Found(source.layer, [m.pnmi for m in heard], [m.phone_purity for m in heard], spoken)


def rows(run: Path, fits: int, units: int, hours: float) -> list[str]:
    folders = sorted(run.glob("round-*/run"))
    data = yaml.safe_load((folders[0] / "config.yaml").read_text(encoding="utf-8"))["data"]
    entries = [entry for entry in sources.open(data["source"]) if entry.duration >= data["min_seconds"]]
    models = [zoo.load(folder / "last") for folder in folders]
    found = {"MFCC": measured(mfcc39(models[0].frame_rate), entries, fits, units, hours)}
    for number, model in enumerate(models, 1):
        layers = [measured(layer(model, n), entries, fits, units, hours) for n in range(1, model.num_layers + 1)]
        best = max(layers, key=lambda one: statistics.mean(one.pnmi))
        found[f"round {number}, layer {best.layer}"] = best
    return [f"| {run.name} | {name} | {' | '.join(one.cells())} |" for name, one in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--fits", type=int, default=5)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--hours", type=float, default=0.5, help="of training audio for each k-means")
    options = parser.parse_args()
    show = Console(soft_wrap=True, markup=False, highlight=False).print
    show("| run | units of | PNMI (deviation over fits) | phone purity | ... without silence |\n|-|-|-|-|-|")
    for run in options.runs:
        show("\n".join(rows(run, options.fits, options.units, options.hours)))


if __name__ == "__main__":
    main()
