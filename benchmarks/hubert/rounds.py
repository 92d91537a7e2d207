"""Compare the units of the rounds of HuBERT pre-training: do they represent phones better from round to round?

    python -m benchmarks.hubert.rounds RUN... [--fits 5] [--units 100] [--hours 0.5]

RUN is a finished run of `python -m zoo.recipes.hubert.train` on a corpus with phones in its dev split. The result of
k-means depends on its initial centers as much as on the round, so each layer is clustered `fits` times. The table has
MFCC and the best layer of each round by mean PNMI: means over the fits, with standard deviations.
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
class LayerMeasures:
    """Measures of the units of one layer, one value for each fit."""

    layer: int
    pnmi: list[float]
    purity: list[float]
    speech_purity: list[float]  # without silence

    def cells(self) -> list[str]:
        return [
            f"{statistics.mean(x):.4f} ({statistics.stdev(x):.4f})"
            for x in (self.pnmi, self.purity, self.speech_purity)
        ]


def measure_layer(
    source: FeatureSource, entries: Sequence[Entry], fits: int, units: int, hours: float
) -> LayerMeasures:
    train, dev = ([e for e in entries if e.split == split] for split in ("train", "dev"))
    quantizer = fit_quantizer(train, source, (units,) * fits, hours=hours)
    with TemporaryDirectory() as folder:
        labels = label_corpus(quantizer, source, dev, folder)
        measures = [measure(labels, dev, codebook=codebook) for codebook in range(fits)]
        speech_purity = [
            measure(labels, dev, codebook=codebook, ignore=SILENCES).phone_purity for codebook in range(fits)
        ]
    return LayerMeasures(source.layer, [m.pnmi for m in measures], [m.phone_purity for m in measures], speech_purity)


def rows(run: Path, fits: int, units: int, hours: float) -> list[str]:
    folders = sorted(run.glob("round-*/run"))
    data = yaml.safe_load((folders[0] / "config.yaml").read_text(encoding="utf-8"))["data"]
    entries = [entry for entry in sources.open(data["source"]) if entry.duration >= data["min_seconds"]]
    models = [zoo.load(folder / "last") for folder in folders]
    results = {"MFCC": measure_layer(mfcc39(models[0].frame_rate), entries, fits, units, hours)}
    for number, model in enumerate(models, 1):
        layers = [measure_layer(layer(model, n), entries, fits, units, hours) for n in range(1, model.num_layers + 1)]
        best = max(layers, key=lambda one: statistics.mean(one.pnmi))
        results[f"round {number}, layer {best.layer}"] = best
    return [f"| {run.name} | {name} | {' | '.join(one.cells())} |" for name, one in results.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--fits", type=int, default=5)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--hours", type=float, default=0.5, help="hours of training audio for each k-means")
    options = parser.parse_args()
    show = Console(soft_wrap=True, markup=False, highlight=False).print
    show("| run | units of | PNMI (deviation over fits) | phone purity | ... without silence |\n|-|-|-|-|-|")
    for run in options.runs:
        show("\n".join(rows(run, options.fits, options.units, options.hours)))


if __name__ == "__main__":
    main()
